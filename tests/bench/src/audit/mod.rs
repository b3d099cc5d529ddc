//! Measures the cost of auditing a change, in whole HTTP requests on a real Postgres: without
//! audit, written by hand, with this toolkit, and with the schemes of other projects.

pub(crate) mod installation;
pub(crate) mod schemes;
mod size;

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use installation::Installation;
use platform_harness::wire::Wire;
use schemes::{GUARDED, HANDWRITTEN, SCHEMES, Scheme};
use serde_json::{Map, Value};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

use crate::load::{Clients, Turn, cpu_of_a_request, serve};
use crate::requirements::{self, Requirement};
use crate::spread::Spread;
use crate::{cpu, delay, server};

/// The pool size of each service, typical of a small container. The toolkit's own pool has the same
/// limit.
const CONNECTIONS: u32 = 16;
/// The numbers of concurrent clients.
pub(crate) const CLIENTS: [usize; 3] = [1, 16, 64];
/// The delay of each message to Postgres in measurements with the place `far`.
const FAR: Duration = Duration::from_millis(1);

pub(crate) const ONE: &str = r#"{"amount":5,"note":"coffee for the meeting of the board"}"#;
const TEN: &str = r#"[{"amount":1,"note":"coffee for the meeting of the board"},{"amount":2,"note":"coffee for the meeting of the board"},{"amount":3,"note":"coffee for the meeting of the board"},{"amount":4,"note":"coffee for the meeting of the board"},{"amount":5,"note":"coffee for the meeting of the board"},{"amount":6,"note":"coffee for the meeting of the board"},{"amount":7,"note":"coffee for the meeting of the board"},{"amount":8,"note":"coffee for the meeting of the board"},{"amount":9,"note":"coffee for the meeting of the board"},{"amount":10,"note":"coffee for the meeting of the board"}]"#;
/// The requests: the name in the figures, the path, and the body.
const CHANGES: [(&str, &str, &str); 2] =
    [("one_row", "/entries", ONE), ("ten_rows", "/imports", TEN)];

const REQUIREMENTS: [Requirement; 11] = [
    Requirement::at_least(
        "audit.near.one_row.16.guarded.throughput_vs_handwritten",
        0.92,
    ),
    Requirement::at_least(
        "audit.near.one_row.64.guarded.throughput_vs_handwritten",
        0.92,
    ),
    Requirement::at_most("audit.near.one_row.16.guarded.p99_vs_handwritten", 1.1),
    Requirement::at_most("audit.near.one_row.64.guarded.p99_vs_handwritten", 1.1),
    Requirement::at_least(
        "audit.near.one_row.16.unguarded.throughput_vs_handwritten",
        0.97,
    ),
    Requirement::at_least(
        "audit.near.one_row.64.unguarded.throughput_vs_handwritten",
        0.97,
    ),
    Requirement::at_least(
        "audit.near.ten_rows.16.guarded.throughput_vs_handwritten",
        0.92,
    ),
    Requirement::at_least(
        "audit.near.ten_rows.64.guarded.throughput_vs_handwritten",
        0.92,
    ),
    Requirement::at_least("audit.far.one_row.1.guarded.throughput_vs_handwritten", 1.2),
    Requirement::at_least(
        "audit.far.one_row.16.guarded.throughput_vs_handwritten",
        1.2,
    ),
    Requirement::at_least(
        "audit.far.one_row.64.guarded.throughput_vs_handwritten",
        1.2,
    ),
];

/// A scheme with its running services.
struct Subject {
    scheme: &'static Scheme,
    installation: Installation,
    /// Connections of a superuser.
    pool: PgPool,
    near: Clients,
    far: Clients,
}

/// Measures all schemes for the combinations of place, change and number of clients whose name,
/// such as `near.one_row.16`, starts with `only`.
pub(crate) fn run(quick: bool, only: &str) -> Map<String, Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure(quick, only))
}

async fn measure(quick: bool, only: &str) -> Map<String, Value> {
    let (rounds, lasting) = if quick {
        (5, Duration::from_millis(250))
    } else {
        (21, Duration::from_millis(400))
    };
    let mut figures = Map::new();
    say!("{}", server::describe().await);
    let [direct, proxy, far] = round_trips_of_the_proxy().await;
    say!(
        "a round trip: {:.0} µs; through the proxy without delay {:.0} µs, with its delay of {} µs {:.0} µs",
        direct.latency,
        proxy.latency,
        FAR.as_micros(),
        far.latency
    );
    figures.insert(
        "audit.proxy.overhead_us".to_owned(),
        (proxy.latency - direct.latency).round().into(),
    );
    if let (Some(direct), Some(far)) = (direct.cpu, far.cpu) {
        say!("CPU time of the proxy: {:.0} µs", far - direct);
        figures.insert(
            "audit.proxy.cpu_us".to_owned(),
            (far - direct).round().into(),
        );
    }
    say!();

    let postmaster = server::postmaster().await;
    let cpu = || Some([cpu::of_this_process()?, cpu::of_children(postmaster?)?]);
    let mut subjects = Vec::new();
    for scheme in &SCHEMES {
        eprint!("\rsetting up {:<40}", scheme.name);
        subjects.push(Subject::new(scheme).await);
    }
    for subject in &mut subjects {
        subject.count(&mut figures).await;
    }
    eprint!("\r{:60}\r", "");
    report_counts(&figures);

    for (place, far) in [("near", false), ("far", true)] {
        for (change, path, body) in CHANGES {
            for clients in CLIENTS {
                if !format!("{place}.{change}.{clients}").starts_with(only) {
                    continue;
                }
                let request = post(path, body);
                let mut turns: Vec<Vec<Turn>> = SCHEMES.iter().map(|_| Vec::new()).collect();
                for round in 0..=rounds {
                    eprint!("\r{place}, {change}, {clients} clients: round {round} of {rounds}   ");
                    for step in 0..SCHEMES.len() {
                        // Each round starts with another scheme, and every second round runs in
                        // reverse order.
                        let step = if round % 2 == 0 {
                            step
                        } else {
                            SCHEMES.len() - 1 - step
                        };
                        let at = (round + step) % SCHEMES.len();
                        let subject = &mut subjects[at];
                        let load = if far {
                            &mut subject.far
                        } else {
                            &mut subject.near
                        };
                        let turn = load.run(clients, request, lasting, cpu).await;
                        // The first one is a warm-up.
                        if round > 0 {
                            turns[at].push(turn);
                        }
                    }
                }
                eprint!("\r{:60}\r", "");
                report(place, change, clients, turns, &mut figures);
            }
        }
    }
    size::report(&subjects, &mut figures).await;
    if only.is_empty() {
        headline(&mut figures);
    }
    requirements::report(&REQUIREMENTS, &figures);
    figures
}

impl Subject {
    async fn new(scheme: &'static Scheme) -> Self {
        let installation = Installation::new(scheme, None).await;
        let pool = connect(installation.superuser_url(), 2).await;
        let app = installation.app_url();
        let near = serve((scheme.service)(connect(&app, CONNECTIONS).await).await).await;
        let url: url::Url = app.parse().expect("a URL");
        let address = format!(
            "{}:{}",
            url.host_str().unwrap_or("127.0.0.1"),
            url.port().unwrap_or(5432)
        );
        let through = with_address(&url, delay::before(address, FAR));
        let far = serve((scheme.service)(connect(&through, CONNECTIONS).await).await).await;
        Self {
            scheme,
            pool,
            near: Clients::connect(near, CLIENTS[2]).await,
            far: Clients::connect(far, CLIENTS[2]).await,
            installation,
        }
    }

    /// Counts the round trips and the bytes of write-ahead log of one request.
    async fn count(&mut self, figures: &mut Map<String, Value>) {
        const REQUESTS: u32 = 100;
        let app = self.installation.app_url();
        let wire = Wire::before(&app).await;
        let url = wire.through(&app);
        for (change, path, body) in CHANGES {
            let service = serve((self.scheme.service)(connect(&url, 1).await).await).await;
            let mut clients = Clients::connect(service, 1).await;
            clients.send(5, post(path, body)).await;
            // Waits for messages that follow the last response.
            tokio::time::sleep(Duration::from_millis(100)).await;
            wire.reset();
            let before = self.log_position().await;
            clients.send(REQUESTS as usize, post(path, body)).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            let written = self.log_position().await - before;
            #[expect(clippy::cast_precision_loss, reason = "a count")]
            let round_trips = wire.round_trips() as f64 / f64::from(REQUESTS);
            let key = format!("audit.{}.{change}", self.scheme.key);
            figures.insert(format!("{key}.round_trips"), round_trips.into());
            figures.insert(
                format!("{key}.wal_bytes"),
                (written / f64::from(REQUESTS)).round().into(),
            );
        }
    }

    async fn log_position(&self) -> f64 {
        let position = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8";
        sqlx::query_scalar(position)
            .fetch_one(&self.pool)
            .await
            .expect("a position")
    }
}

pub(crate) async fn connect(url: &str, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        // The test costs a round trip, so a careful developer disables it.
        .test_before_acquire(false)
        .connect(url)
        .await
        .expect("the server accepts connections")
}

/// A request like those of production: each has an id of its own, and they come from many actors.
/// With constant values, an index would compare only equal texts, which costs nothing.
pub(crate) fn post(path: &'static str, body: &'static str) -> impl Fn() -> Request<Body> + Copy {
    move || {
        let id = Uuid::new_v4();
        let actor = id.as_bytes()[0];
        Request::post(path)
            .header("host", "ledger.example")
            .header("user-agent", "bench/1")
            .header("content-type", "application/json")
            .header("x-actor", format!("user-{actor}"))
            .header("x-request-id", id.to_string())
            .body(Body::from(body))
            .expect("a request")
    }
}

/// Replaces the address in `url`.
fn with_address(url: &url::Url, address: SocketAddr) -> String {
    let mut url = url.clone();
    url.set_host(Some("127.0.0.1")).expect("a host");
    url.set_port(Some(address.port())).expect("a port");
    url.into()
}

/// The cost of an empty statement in microseconds.
#[derive(Clone, Copy, Default)]
struct RoundTrip {
    latency: f64,
    /// CPU time of this process, which contains the proxy.
    cpu: Option<f64>,
}

/// Measures a round trip to Postgres directly, through the proxy without a delay, and with the
/// delay.
async fn round_trips_of_the_proxy() -> [RoundTrip; 3] {
    const ROUND_TRIPS: u32 = 2_000;
    let url = std::env::var(platform_harness::database::SERVER).expect("a server was started");
    let url: url::Url = url.parse().expect("a URL");
    let server = format!(
        "{}:{}",
        url.host_str().unwrap_or("127.0.0.1"),
        url.port().unwrap_or(5432)
    );
    let ways = [
        url.to_string(),
        with_address(&url, delay::before(server.clone(), Duration::ZERO)),
        with_address(&url, delay::before(server, FAR)),
    ];
    let mut round_trips = [RoundTrip::default(); 3];
    for (round_trip, url) in round_trips.iter_mut().zip(ways) {
        let mut connection = PgConnection::connect(&url)
            .await
            .expect("the server accepts connections");
        let mut latencies = Vec::new();
        let before = cpu::of_this_process();
        for _ in 0..ROUND_TRIPS {
            let began = std::time::Instant::now();
            connection.ping().await.expect("the server responds");
            latencies.push(began.elapsed().as_secs_f64() * 1e6);
        }
        let after = cpu::of_this_process();
        let used = before.zip(after).map(|(before, after)| after - before);
        *round_trip = RoundTrip {
            latency: Spread::of(latencies).median,
            cpu: used.map(|used| used / f64::from(ROUND_TRIPS)),
        };
    }
    round_trips
}

fn report_counts(figures: &Map<String, Value>) {
    say!(
        "{:<36} {:>22} {:>26}",
        "one request",
        "round trips",
        "bytes of WAL"
    );
    say!(
        "{:<36} {:>10} {:>11} {:>13} {:>12}",
        "",
        "one row",
        "ten rows",
        "one row",
        "ten rows"
    );
    for scheme in &SCHEMES {
        let figure = |what: &str| {
            figures[&format!("audit.{}.{what}", scheme.key)]
                .as_f64()
                .unwrap_or(0.0)
        };
        say!(
            "  {:<34} {:>10.2} {:>11.2} {:>13.0} {:>12.0}",
            scheme.name,
            figure("one_row.round_trips"),
            figure("ten_rows.round_trips"),
            figure("one_row.wal_bytes"),
            figure("ten_rows.wal_bytes"),
        );
    }
    say!();
}

fn report(
    place: &str,
    change: &str,
    clients: usize,
    turns: Vec<Vec<Turn>>,
    figures: &mut Map<String, Value>,
) {
    let rates: Vec<Vec<f64>> = turns
        .iter()
        .map(|of| of.iter().map(|turn| turn.rate).collect())
        .collect();
    let cpu: Vec<Option<[f64; 2]>> = turns.iter().map(|of| cpu_of_a_request(of)).collect();
    let percentiles: Vec<Vec<[f64; 2]>> = turns
        .iter()
        .map(|of| of.iter().map(percentiles).collect())
        .collect();
    say!(
        "Postgres {place}, {}, {clients} clients; ratios to (b); CPU time of the service with its clients, and of Postgres\n{:<36} {:>9} {:>7} {:>16} {:>8} {:>7} {:>8} {:>7} {:>16}",
        change.replace('_', " "),
        "",
        "req/s",
        "ratio",
        "(quartiles)",
        "p50 µs",
        "ratio",
        "p99 µs",
        "ratio",
        "CPU µs"
    );
    for (at, scheme) in SCHEMES.iter().enumerate() {
        let rate = Spread::of(rates[at].clone());
        let ratio = Spread::of_ratios(&rates[at], &rates[HANDWRITTEN]);
        let guarded_ratio = Spread::of_ratios(&rates[GUARDED], &rates[at]).median;
        let [(p50, p50_ratio), (p99, p99_ratio)] = [0, 1].map(|which| {
            let of =
                |at: usize| -> Vec<f64> { percentiles[at].iter().map(|of| of[which]).collect() };
            let ratio = Spread::of_ratios(&of(at), &of(HANDWRITTEN));
            (Spread::of(of(at)).median, ratio.median)
        });
        let shown_cpu = cpu[at].map_or(String::new(), |[service, server]| {
            format!("{service:.0} + {server:.0}")
        });
        say!(
            "  {:<34} {:>9.0} {:>7.2} {:>16} {:>8.0} {:>7.2} {:>8.0} {:>7.2} {shown_cpu:>16}",
            scheme.name,
            rate.median,
            ratio.median,
            format!("{:.2} to {:.2}", ratio.low, ratio.high),
            p50,
            p50_ratio,
            p99,
            p99_ratio,
        );
        let key = format!("audit.{place}.{change}.{clients}.{}", scheme.key);
        let mut put = |name: &str, value: f64| {
            figures.insert(format!("{key}.{name}"), rounded(value).into());
        };
        put("throughput", rate.median.round());
        put("throughput_vs_handwritten", ratio.median);
        put("p50_us", p50.round());
        put("p99_us", p99.round());
        put("p50_vs_handwritten", p50_ratio);
        put("p99_vs_handwritten", p99_ratio);
        put("guarded_throughput_vs", guarded_ratio);
        if let Some([service, server]) = cpu[at] {
            put("service_cpu_us", service.round());
            put("postgres_cpu_us", server.round());
        }
        if at == HANDWRITTEN && rate.is_noisy() {
            say!(
                "    the machine is noisy (more than a tenth between the quartiles): repeat the run when it is idle"
            );
        }
    }
    say!();
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The median and the 99th percentile of the latencies of a turn.
fn percentiles(turn: &Turn) -> [f64; 2] {
    let mut all = turn.latencies.clone();
    all.sort_by(f64::total_cmp);
    let at = |hundredth: usize| all[(all.len() - 1) * hundredth / 100];
    [at(50), at(99)]
}

/// The headline figures: for one-row changes, the worse of 16 and 64 clients.
fn headline(figures: &mut Map<String, Value>) {
    let figure = |key: String| {
        figures
            .get(&key)
            .and_then(Value::as_f64)
            .unwrap_or(f64::NAN)
    };
    let worst = |place: &str, scheme: &str, what: &str, than: fn(f64, f64) -> f64| {
        let of =
            |clients: usize| figure(format!("audit.{place}.one_row.{clients}.{scheme}.{what}"));
        than(of(CLIENTS[1]), of(CLIENTS[2]))
    };
    let throughput = "throughput_vs_handwritten";
    let guarded = worst("near", "guarded", throughput, f64::min);
    let against = |scheme: &str| worst("near", scheme, "guarded_throughput_vs", f64::min);
    let headlines = [
        ("audit.guarded_vs_handwritten.throughput", guarded),
        (
            "audit.guarded_vs_handwritten.p99",
            worst("near", "guarded", "p99_vs_handwritten", f64::max),
        ),
        (
            "audit.unguarded_vs_handwritten.throughput",
            worst("near", "unguarded", throughput, f64::min),
        ),
        (
            "audit.guarded_vs_handwritten_1ms.throughput",
            worst("far", "guarded", throughput, f64::min),
        ),
        (
            "audit.guarded_vs_handwritten_1ms.p50",
            worst("far", "guarded", "p50_vs_handwritten", f64::max),
        ),
        (
            "audit.round_trips",
            figure("audit.guarded.one_row.round_trips".to_owned()),
        ),
        (
            "audit.guarded_vs_row_trigger.throughput",
            against("row_trigger"),
        ),
        (
            "audit.guarded_vs_transaction_row.throughput",
            against("transaction_row"),
        ),
        (
            "audit.guarded_vs_hash_chain.throughput",
            against("hash_chain"),
        ),
    ];
    say!(
        "one-row changes, the worse of {} and {} clients:",
        CLIENTS[1],
        CLIENTS[2]
    );
    for (key, value) in headlines {
        say!("  {key:<48} {value:.2}");
        figures.insert(key.to_owned(), value.into());
    }
}
