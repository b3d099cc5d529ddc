//! Many concurrent requests, with random disconnects, failures, panics and timeouts.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt;
use tower_http::timeout::TimeoutLayer;

use super::super::{HANGING, JOINED, REQUESTS};
use super::*;

const CONCURRENCY: usize = 64;
const TIMEOUT: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_millis(200);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Job {
    entry: Entry,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Mode {
    Succeed,
    Fail,
    Panic,
    /// Never returns.
    Hang,
}

/// The ids of the entries whose handler was called.
type Reached = Arc<Mutex<Vec<String>>>;

#[audited(action = "entry.soak", resource = "entry", resource_id = job.entry.id)]
async fn soak(
    tx: &mut Tx,
    Extension(reached): Extension<Reached>,
    Json(job): Json<Job>,
) -> Result<StatusCode, Failure> {
    reached.lock().unwrap().push(job.entry.id.clone());
    insert(tx, &job.entry).await?;
    tx.created(&job.entry);
    match job.mode {
        Mode::Succeed => Ok(StatusCode::CREATED),
        Mode::Fail => Err(Failure(StatusCode::UNPROCESSABLE_ENTITY)),
        Mode::Panic => panic!("{ON_PURPOSE}"),
        Mode::Hang => {
            std::future::pending::<()>().await;
            Ok(StatusCode::CREATED)
        }
    }
}

const ON_PURPOSE: &str = "expected by the soak test";

/// Thousands of expected backtraces would hide others.
fn silence_expected_panics() {
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic
            .payload()
            .downcast_ref::<String>()
            .is_none_or(|text| text != ON_PURPOSE)
            && panic
                .payload()
                .downcast_ref::<&str>()
                .is_none_or(|text| *text != ON_PURPOSE)
        {
            default_hook(panic);
        }
    }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_and_success_records_are_one_to_one_under_load_with_cancellation() {
    silence_expected_panics();
    let seed =
        std::env::var("SOAK_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("SOAK_SEED={seed} repeats these requests");
    let mut random = fastrand::Rng::with_seed(seed);
    let reached = Reached::default();
    let service = Service::with(
        |builder| {
            builder
                .abandoned_after(GRACE)
                .max_connections(32)
                .guard(["entry"])
        },
        |router| {
            router
                .route("/soak", routing::post(soak))
                .layer(Extension(Arc::clone(&reached)))
                .layer(TimeoutLayer::with_status_code(
                    StatusCode::GATEWAY_TIMEOUT,
                    TIMEOUT,
                ))
        },
    )
    .await;

    let jobs: Vec<(Job, Option<Duration>)> = (0..REQUESTS)
        .map(|n| {
            let mode = match random.i64(0..1000) {
                n if n < HANGING => Mode::Hang,
                ..150 => Mode::Panic,
                150..350 => Mode::Fail,
                _ => Mode::Succeed,
            };
            // One client in ten disconnects at a random time.
            let disconnects_after =
                (random.u8(0..10) == 0).then(|| Duration::from_micros(random.u64(0..30_000)));
            (
                Job {
                    entry: Entry::new(n),
                    mode,
                },
                disconnects_after,
            )
        })
        .collect();
    let responses: Vec<(Job, Option<u16>)> = futures_util::stream::iter(jobs)
        .map(|(job, disconnects_after)| {
            let sent = service.post("/soak").json(&job).send();
            async move {
                let response = match disconnects_after {
                    Some(after) => tokio::time::timeout(after, sent).await.ok(),
                    None => Some(sent.await),
                };
                let status = response
                    .map(|response| response.expect("the service responds").status().as_u16());
                (job, status)
            }
        })
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;

    // Every called handler writes a record, even after its client has disconnected.
    let mut recorded: BTreeMap<String, i64> = BTreeMap::new();
    for _ in 0..1000 {
        let ids = format!("SELECT resource_id FROM {RECORD} WHERE resource_id IS NOT NULL");
        let ids: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(ids))
            .fetch_all(&service.pool)
            .await
            .unwrap();
        recorded.clear();
        for (id,) in ids {
            *recorded.entry(id).or_default() += 1;
        }
        if reached
            .lock()
            .unwrap()
            .iter()
            .all(|id| recorded.contains_key(id))
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let reached = reached.lock().unwrap().clone();
    let unrecorded = reached
        .iter()
        .filter(|id| !recorded.contains_key(*id))
        .count();
    let twice = recorded.values().filter(|count| **count > 1).count();

    let mut statuses = BTreeMap::new();
    for (_, status) in &responses {
        *statuses.entry(*status).or_insert(0) += 1;
    }
    // Handlers of disconnected clients may still be running. One statement reads one snapshot.
    service.audit.shutdown().await;
    let (entries, successes, joined): (i64, i64, i64) = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT (SELECT count(*) FROM entry),
            (SELECT count(*) FROM {RECORD} WHERE outcome = 'success' AND action = 'entry.soak'),
            (SELECT count(*) FROM entry JOIN {RECORD} AS record ON record.resource_id = entry.id AND {JOINED} WHERE record.outcome = 'success')"
    )))
    .fetch_one(&service.pool)
    .await
    .unwrap();
    println!("{:?}", service.audit.status());
    println!(
        "{} requests: responses {statuses:?}; {entries} changes, {successes} success records, {joined} joined; {} reached a handler, {unrecorded} of them unrecorded, {twice} recorded twice",
        responses.len(),
        reached.len()
    );
    assert_eq!(entries, successes, "changes and success records");
    assert_eq!(
        entries, joined,
        "changes joined to their records by resource id and transaction"
    );
    assert_eq!(unrecorded, 0, "called handlers without a record");
    assert_eq!(twice, 0, "handlers with more than one record");
    assert_eq!(service.audit.status().lost_attempts, 0);
    assert_eq!(service.audit.status().violations, 0);
    // Every kind of failure occurred, and every 201 has its change.
    for status in [Some(201), Some(422), Some(500), Some(504), None] {
        assert!(
            statuses.contains_key(&status),
            "no response {status:?} in {statuses:?}"
        );
    }
    for (job, status) in responses
        .iter()
        .filter(|(_, status)| *status == Some(201))
        .take(200)
    {
        let there = format!("SELECT count(*) FROM entry WHERE id = '{}'", job.entry.id);
        assert_eq!(
            service.scalar(&there).await,
            1,
            "{status:?} without a change: {job:?}"
        );
    }
}
