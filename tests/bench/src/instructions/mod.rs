//! Counts the instructions that Postgres executes for one audited request of one row, with
//! callgrind. Unlike a duration, this number does not depend on the machine's other processes. Then
//! measures the time of COMMIT per record of a transaction.

mod callgrind;

use std::time::Duration;

use serde_json::{Map, Value};
use sqlx::{Connection, PgConnection};

use crate::audit::installation::Installation;
use crate::audit::schemes::{GUARDED, HANDWRITTEN, SCHEMES, Scheme, UNGUARDED};
use crate::audit::{ONE, connect, post};
use crate::load::{Clients, serve};
use crate::requirements::{self, Requirement};
use crate::spread::Spread;
use crate::{commit, server};

use callgrind::CountingServer;
pub(crate) use callgrind::find as find_valgrind;

/// The indexes of the measured schemes in [`SCHEMES`].
pub(crate) const COUNTED: [usize; 3] = [HANDWRITTEN, UNGUARDED, GUARDED];
/// Requests before the server counts: the indexes of an empty log have one level and few texts to
/// compare, as no log in production has.
const EARLIER_REQUESTS: usize = 10_000;
/// Requests before the measured ones, which prepare statements and fill plans and caches.
const WARM_UP: usize = 40;
const REQUESTS: usize = 200;
/// The number of requests whose mean is one sample; the result is the median of the samples. The
/// mean includes rare costs, such as an index page that is added with about every hundredth record.
/// The median ignores samples in which the kernel suspended the backend for milliseconds, as code
/// that reads the clock then takes another path.
const GROUP: usize = 20;

/// How long to wait until Postgres has executed what a service sends after its response, such as
/// the statement with which sqlx returns a connection to its pool.
const SETTLING: Duration = Duration::from_millis(500);

const REQUIREMENTS: [Requirement; 2] = [
    Requirement::at_most("instructions.unguarded_vs_handwritten", 1.20),
    Requirement::at_most("instructions.guarded_vs_handwritten", 1.40),
];

pub(crate) fn run() -> Map<String, Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        say!("{}", server::describe().await);
        let mut figures = count().await;
        figures.extend(commit::measure().await);
        requirements::report(&REQUIREMENTS, &figures);
        figures
    })
}

async fn count() -> Map<String, Value> {
    let server = CountingServer::start().unwrap_or_else(|error| panic!("{error}"));
    let mut installations = Vec::new();
    for at in COUNTED {
        let scheme = &SCHEMES[at];
        eprint!("\rsetting up {:<40}", scheme.name);
        let installation = Installation::new(scheme, Some(server.url())).await;
        fill(scheme, &installation).await;
        installations.push(installation);
    }
    // Autovacuum would run at random times.
    run_on(&server, "ALTER SYSTEM SET autovacuum = off").await;
    run_on(&server, "CHECKPOINT").await;
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    eprint!("\r{:60}\r", "");
    say!(
        "instructions of Postgres for one request of one row, as the application role; medians of {} means of {GROUP} requests\n{:<36} {:>9} {:>17} {:>8}",
        REQUESTS / GROUP,
        "",
        "thousands",
        "(quartiles)",
        "ratio"
    );
    let mut figures = Map::new();
    let mut by_hand = f64::NAN;
    for (at, installation) in COUNTED.into_iter().zip(&installations) {
        let scheme = &SCHEMES[at];
        let counts = requests(&server, scheme, installation).await;
        let means = counts.chunks(GROUP).map(mean).collect();
        let means = Spread::of(means);
        if at == HANDWRITTEN {
            by_hand = means.median;
        }
        let ratio = means.median / by_hand;
        say!(
            "  {:<34} {:>9.1} {:>17} {ratio:>8.3}",
            scheme.name,
            means.median / 1e3,
            format!("{:.1} to {:.1}", means.low / 1e3, means.high / 1e3)
        );
        let key = format!("instructions.{}", scheme.key);
        if at != HANDWRITTEN {
            let ratio = (ratio * 1000.0).round() / 1000.0;
            figures.insert(format!("{key}_vs_handwritten"), ratio.into());
        }
        figures.insert(key, means.median.round().into());
    }
    say!();
    // Dropping the databases takes long under callgrind, and their files are deleted anyway.
    std::mem::forget(installations);
    figures
}

async fn run_on(server: &CountingServer, statement: &'static str) {
    let superuser = PgConnection::connect(&server.url()).await;
    let mut superuser = superuser.expect("the server accepts connections");
    let done = sqlx::raw_sql(statement).execute(&mut superuser).await;
    done.expect("a superuser has all privileges");
}

/// Sends the earlier requests, and updates the planner's statistics, as autovacuum does.
async fn fill(scheme: &Scheme, installation: &Installation) {
    let pool = connect(&installation.app_url(), 1).await;
    let service = serve((scheme.service)(pool).await).await;
    let mut clients = Clients::connect(service, 1).await;
    clients.send(EARLIER_REQUESTS, post("/entries", ONE)).await;
    let mut superuser = PgConnection::connect(installation.superuser_url())
        .await
        .expect("the server accepts connections");
    sqlx::raw_sql("ANALYZE")
        .execute(&mut superuser)
        .await
        .expect("a superuser may analyze");
}

/// The number of instructions of each request, in the backend that serves the application role. A
/// request is counted from the end of the previous one's transaction to the end of its own.
async fn requests(
    server: &CountingServer,
    scheme: &Scheme,
    installation: &Installation,
) -> Vec<u64> {
    let pool = connect(&installation.app_url(), 1).await;
    let service = serve((scheme.service)(pool).await).await;
    let mut clients = Clients::connect(service, 1).await;
    clients.send(WARM_UP, post("/entries", ONE)).await;
    tokio::time::sleep(SETTLING).await;
    let backends = backends(installation).await;
    for backend in &backends {
        give_priority(*backend);
    }
    let before: Vec<_> = backends
        .iter()
        .map(|backend| server.transactions(*backend).len())
        .collect();
    clients.send(REQUESTS, post("/entries", ONE)).await;
    tokio::time::sleep(SETTLING).await;
    let counted = backends.iter().zip(before).map(|(backend, before)| {
        let transactions = server.transactions(*backend);
        transactions[before..].to_vec()
    });
    let mut counted: Vec<_> = counted.filter(|counted| !counted.is_empty()).collect();
    let transactions = match (counted.pop(), counted.is_empty()) {
        (Some(one), true) => one,
        _ => panic!("{}: one backend should serve all requests", scheme.name),
    };
    let per_request = transactions.len() / REQUESTS;
    assert_eq!(
        transactions.len(),
        per_request * REQUESTS,
        "{}: every request makes the same number of transactions",
        scheme.name
    );
    let sums = transactions.chunks(per_request).map(|of| of.iter().sum());
    sums.collect()
}

/// The process ids of the backends of the application role.
async fn backends(installation: &Installation) -> Vec<i32> {
    let superuser = PgConnection::connect(installation.superuser_url()).await;
    let mut superuser = superuser.expect("the server accepts connections");
    sqlx::query_scalar("SELECT pid FROM pg_stat_activity WHERE usename = $1")
        .bind(installation.app())
        .fetch_all(&mut superuser)
        .await
        .expect("a superuser sees all backends")
}

/// Raises the priority, so that a busy machine does not delay the backend: code that reads the
/// clock would then take another path. Only root may do so.
fn give_priority(backend: i32) {
    rustix::process::setpriority_process(rustix::process::Pid::from_raw(backend), -20).ok();
}

fn mean(counts: &[u64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let [sum, count] = [counts.iter().sum::<u64>() as f64, counts.len() as f64];
    sum / count
}
