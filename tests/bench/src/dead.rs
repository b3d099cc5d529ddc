//! Measures a service whose telemetry endpoint is dead: it accepts connections and never responds.
//! Measured are the latency of requests and the resident memory; every span has to be accounted
//! for. Each variant runs in its own process, over real sockets.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use platform_observability::{Spool, Telemetry};
use serde_json::{Map, Value, json};

use crate::machine::resident;
use crate::spread::Spread;
use crate::subprocess;

/// The environment variables of a child process: how many seconds it serves, and the directory of
/// its spool.
const SECONDS: &str = "PLATFORM_BENCH_SECONDS";
const SPOOL: &str = "PLATFORM_BENCH_SPOOL";

const CLIENTS: u32 = 32;
/// The pause of a client between two requests, so that the machine is not saturated.
const PAUSE: Duration = Duration::from_millis(40);

pub(crate) fn run(quick: bool) -> Map<String, Value> {
    if let Ok(seconds) = std::env::var(SECONDS) {
        serve(seconds.parse().unwrap());
    }
    let (rounds, seconds) = if quick { (1, 8) } else { (3, 60) };
    // The kernel accepts connections; nothing reads from them.
    let unresponsive = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", unresponsive.local_addr().unwrap());
    say!(
        "{CLIENTS} clients at {:.0} requests a second together, {seconds} s each, {rounds} alternating rounds; the endpoint accepts connections and never responds\n",
        f64::from(CLIENTS) / PAUSE.as_secs_f64()
    );
    let mut seen: [Vec<Value>; 3] = Default::default();
    for round in 0..rounds {
        for turn in 0..seen.len() {
            // Each round starts with another variant, so that changes in the machine's load affect
            // all.
            let variant = (round + turn) % seen.len();
            let spool = tempfile::tempdir().unwrap();
            let mut child = subprocess::command(["dead"]);
            child.env(SECONDS, seconds.to_string());
            match variant {
                0 => child.env("OTEL_SDK_DISABLED", "true"),
                _ => child.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            };
            if variant == 2 {
                child.env(SPOOL, spool.path().join("spool"));
            }
            seen[variant].push(subprocess::run(&mut child).1);
        }
    }
    report(&seen)
}

fn report(seen: &[Vec<Value>; 3]) -> Map<String, Value> {
    let mut figures = Map::new();
    let each = |of: &[Value], key: &str| -> Vec<f64> {
        of.iter().filter_map(|it| it[key].as_f64()).collect()
    };
    let median = |of: &[Value], key: &str| Spread::of(each(of, key)).median;
    let p99_ratio_to_off =
        |of: &[Value]| Spread::of_ratios(&each(of, "p99"), &each(&seen[0], "p99")).median;
    say!(
        "{:<22} {:>9} {:>9} {:>9} {:>10}   spans",
        "",
        "p50, µs",
        "p99, µs",
        "MiB",
        "requests"
    );
    for (name, of) in ["telemetry off", "dead endpoint", "with a spool"]
        .iter()
        .zip(seen)
    {
        let last = &of[of.len() - 1];
        say!(
            "{name:<22} {:>9.0} {:>9.0} {:>9.1} {:>10}   {}",
            median(of, "p50"),
            median(of, "p99"),
            median(of, "mebibytes"),
            last["requests"],
            last["spans"],
        );
        for one in of.iter().filter(|one| one["spans"].is_object()) {
            let accounted: u64 = one["spans"]
                .as_object()
                .unwrap()
                .values()
                .filter_map(Value::as_u64)
                .sum();
            assert_eq!(
                Some(accounted),
                one["requests"].as_u64(),
                "every span is accounted for: {one}"
            );
            let spools = one["spools"] == true;
            assert!(
                !spools || one["spans"]["dropped"] == 0,
                "with a spool none is dropped: {one}"
            );
        }
    }
    let ratio = p99_ratio_to_off(&seen[1]);
    say!(
        "\np99 with a dead endpoint: {ratio:.2} of that with telemetry off; every span is accounted for, and with a spool none dropped"
    );
    figures.insert("dead.p99_vs_off".to_owned(), ratio.into());
    let spooling = p99_ratio_to_off(&seen[2]);
    figures.insert("dead.spooling_p99_vs_off".to_owned(), spooling.into());
    for (key, of) in [
        ("off", &seen[0]),
        ("dead", &seen[1]),
        ("spooling", &seen[2]),
    ] {
        let mebibytes = median(of, "mebibytes");
        figures.insert(format!("dead.{key}_mebibytes"), mebibytes.into());
    }
    figures
}

/// Serves its own clients for some seconds, prints the figures as JSON, and ends the process.
fn serve(seconds: u64) -> ! {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let seen = runtime.block_on(async {
        // Warnings about the endpoint would clutter standard error.
        let mut builder = Telemetry::builder("bench").log_filter("error");
        if let Some(directory) = std::env::var_os(SPOOL) {
            builder = builder.spool(Spool::new(directory));
        }
        let telemetry = builder.init().unwrap();
        let app = Router::new()
            .route("/", get(async || "hello"))
            .layer(telemetry.layer());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let ends = Instant::now() + Duration::from_secs(seconds);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let url = url.clone();
                tokio::spawn(async move {
                    let client = reqwest::Client::new();
                    let mut latencies = Vec::new();
                    tokio::time::sleep(PAUSE * n / CLIENTS).await;
                    while Instant::now() < ends {
                        let began = Instant::now();
                        let response = client.get(&url).send().await.unwrap();
                        response.bytes().await.unwrap();
                        latencies.push(began.elapsed().as_secs_f64() * 1e6);
                        tokio::time::sleep(PAUSE).await;
                    }
                    latencies
                })
            })
            .collect();
        let mut latencies = Vec::new();
        for client in clients {
            latencies.extend(client.await.unwrap());
        }
        latencies.sort_by(f64::total_cmp);
        let traces = telemetry.status().traces;
        let off = std::env::var_os("OTEL_SDK_DISABLED").is_some();
        let spans = json!({
            "waiting": traces.waiting, "spooled": traces.spooled, "exported": traces.exported,
            "dropped": traces.dropped_queue_full + traces.dropped_failed,
        });
        json!({
            "p50": latencies[latencies.len() / 2],
            "p99": latencies[latencies.len() * 99 / 100],
            "requests": latencies.len(),
            "mebibytes": resident() / f64::from(1 << 20),
            "spools": std::env::var_os(SPOOL).is_some(),
            "spans": if off { Value::Null } else { spans },
        })
    });
    say!("{seen}");
    // A shutdown would wait for the endpoint, which does not respond.
    std::process::exit(0);
}
