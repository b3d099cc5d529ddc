//! A flood of attempts is counted in summaries and does not fill the table.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tower_http::timeout::TimeoutLayer;

use super::*;

const SUMMARY: &str = "attempt.suppress";

fn limit(per_minute: u32) -> impl FnOnce(AuditBuilder<Db>) -> AuditBuilder<Db> {
    let per_minute = NonZeroU32::new(per_minute).unwrap();
    move |builder| builder.anonymous_attempts(per_minute)
}

fn client_at(address: &str) -> reqwest::Client {
    let address: IpAddr = address.parse().unwrap();
    let client = reqwest::Client::builder().local_address(address);
    client.build().unwrap()
}

/// Sends `times` anonymous requests to `path`, 20 at a time.
async fn flood(
    service: &Service,
    client: &reqwest::Client,
    path: &str,
    times: usize,
) -> Vec<reqwest::Response> {
    let mut responses = Vec::new();
    while responses.len() < times {
        let batch = (times - responses.len()).min(20);
        let posts = (0..batch).map(|_| {
            let post = client.post(format!("http://{}{path}", service.address));
            post.json(&Entry::new(1)).send()
        });
        for response in join_all(posts).await {
            responses.push(response.expect("the service responds"));
        }
    }
    responses
}

/// The record ids in the responses.
fn named(responses: &[reqwest::Response]) -> Vec<Uuid> {
    let named = responses.iter();
    let named = named.filter(|response| response.headers().contains_key("audit-record-id"));
    named.map(record_id).collect()
}

/// The maximum number of records since `start` at `per_minute`.
fn allowed(per_minute: u32, start: Instant) -> usize {
    let refilled = start.elapsed().as_secs_f64() * f64::from(per_minute) / 60.0;
    per_minute as usize + refilled.ceil() as usize
}

/// Shuts auditing down and returns the records of attempts and the summaries.
async fn recorded(service: &Service) -> (Vec<AuditRecord>, Vec<AuditRecord>) {
    service.audit.shutdown().await;
    let records = service.all_records().await;
    records
        .into_iter()
        .partition(|record| record.action != SUMMARY)
}

/// The sum of a number in the details of all summaries. There is one summary per minute.
fn sum(summaries: &[AuditRecord], pointer: &str) -> u64 {
    let numbers = summaries.iter().filter_map(|summary| {
        let details = serde_json::Value::Object(summary.details.clone());
        details.pointer(pointer)?.as_u64()
    });
    numbers.sum()
}

#[tokio::test]
async fn a_flood_of_anonymous_attempts_is_counted_and_does_not_fill_the_table() {
    let service = Service::start().await;
    let start = Instant::now();
    let responses = flood(&service, &service.client, "/entries", 200).await;
    let allowed = allowed(30, start);
    assert!(responses.iter().all(|response| response.status() == 401));

    let (attempts, summaries) = recorded(&service).await;
    assert!(
        (30..=allowed).contains(&attempts.len()),
        "{} attempts were recorded individually",
        attempts.len()
    );
    assert!(
        attempts
            .iter()
            .all(|record| record.action == "entry.create")
    );
    let suppressed = 200 - attempts.len() as u64;
    assert_eq!(sum(&summaries, "/suppressed"), suppressed);
    assert_eq!(sum(&summaries, "/by_action/entry.create"), suppressed);
    assert_eq!(sum(&summaries, "/top_addresses/127.0.0.1"), suppressed);
    let status = service.audit.status();
    assert_eq!(status.attempts, attempts.len() as u64);
    assert_eq!(status.suppressed_attempts, suppressed);
    assert_eq!(status.lost_attempts, 0);

    let mut named = named(&responses);
    named.sort_unstable();
    let ids: Vec<_> = attempts.iter().map(|record| record.id).collect();
    assert_eq!(
        named, ids,
        "the responses name exactly the existing records"
    );

    let summary = &summaries[0];
    assert_eq!(summary.actor, Actor::system("platform-audit"));
    assert_eq!(summary.outcome, Outcome::Denied);
    assert_eq!((summary.status, &summary.cut), (None, &vec![]));
    let time = |name: &str| {
        let time = summary.details[name].as_str().unwrap().parse();
        time.unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let (since, until): (jiff::Timestamp, jiff::Timestamp) = (time("since"), time("until"));
    assert!(since <= until && until <= summary.occurred_at);

    // The same attempts are not summarised again.
    let records = service.records().await;
    service.audit.shutdown().await;
    assert_eq!(service.records().await, records);
}

#[tokio::test]
async fn attempts_of_authenticated_actors_are_all_recorded() {
    let service = Service::with(limit(1), |router| router).await;
    for _ in 0..40 {
        let response = service.send("/fail/403", &Entry::new(1)).await;
        assert_eq!(response.status(), 403);
        service.record_of(&response).await;
    }
    let (attempts, summaries) = recorded(&service).await;
    assert_eq!((attempts.len(), summaries.len()), (40, 0));
    assert_eq!(service.audit.status().suppressed_attempts, 0);
}

#[tokio::test]
async fn anonymous_successes_are_all_recorded() {
    let service = Service::with(limit(1), |router| router).await;
    let responses = flood(&service, &service.client, "/sign-up", 40).await;
    assert!(responses.iter().all(|response| response.status() == 201));
    assert_eq!(named(&responses).len(), 40);
    let (records, summaries) = recorded(&service).await;
    assert_eq!((records.len(), summaries.len()), (40, 0));
}

#[tokio::test]
async fn each_action_and_address_has_its_own_rate_limit() {
    let service = Service::with(limit(2), |router| router).await;
    let start = Instant::now();
    let other = client_at("127.0.0.2");
    let floods = [
        (&service.client, "/entries", "127.0.0.1", "entry.create"),
        (&service.client, "/import", "127.0.0.1", "entry.import"),
        (&other, "/entries", "127.0.0.2", "entry.create"),
    ];
    for (client, path, ..) in floods {
        let responses = flood(&service, client, path, 20).await;
        let named = named(&responses).len();
        assert!((2..=allowed(2, start)).contains(&named), "{named}");
    }
    let allowed = allowed(2, start);
    let (attempts, summaries) = recorded(&service).await;
    for (_, path, address, action) in floods {
        let of = attempts.iter().filter(|record| {
            record.action == action && record.client_address.as_deref() == Some(address)
        });
        let of = of.count();
        assert!((2..=allowed).contains(&of), "{path} of {address}: {of}");
    }
    assert_eq!(
        attempts.len() as u64 + sum(&summaries, "/suppressed"),
        60,
        "{summaries:#?}"
    );
    let (first, second) = ("/top_addresses/127.0.0.1", "/top_addresses/127.0.0.2");
    assert_eq!(
        sum(&summaries, first) + sum(&summaries, second),
        sum(&summaries, "/suppressed")
    );
}

/// The response is sent before the record is written.
#[tokio::test]
async fn a_timeout_response_names_a_record_only_if_it_will_be_written() {
    #[audited(action = "entry.hang", actor = "optional")]
    async fn hang(tx: &mut Tx, Json(entry): Json<Entry>) -> Result<StatusCode, Failure> {
        insert(tx, &entry).await?;
        std::future::pending().await
    }
    let timeout =
        TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, Duration::from_millis(300));
    let service = Service::with(limit(1), |router| {
        router.route("/hang", routing::post(hang)).layer(timeout)
    })
    .await;
    let responses = flood(&service, &service.client, "/hang", 10).await;
    assert!(responses.iter().all(|response| response.status() == 503));
    let mut named = named(&responses);
    named.sort_unstable();

    let (attempts, summaries) = recorded(&service).await;
    let ids: Vec<_> = attempts.iter().map(|record| record.id).collect();
    assert_eq!(named, ids);
    assert_eq!(ids.len() as u64 + sum(&summaries, "/suppressed"), 10);
    assert!(sum(&summaries, "/suppressed") > 0);
    assert_eq!(service.entries().await, 0);
}

#[tokio::test]
async fn the_response_to_a_panic_over_the_rate_limit_names_no_record() {
    #[audited(action = "entry.burst", actor = "optional")]
    async fn burst(_tx: &mut Tx) -> StatusCode {
        panic!("expected by the test");
    }
    let service = Service::with(limit(1), |router| {
        router.route("/burst", routing::post(burst))
    })
    .await;
    let responses = flood(&service, &service.client, "/burst", 10).await;
    let named = named(&responses).len();
    let mut bodies_with_id = 0;
    for response in responses {
        assert_eq!(response.status(), 500);
        let body = response.text().await.unwrap();
        bodies_with_id += usize::from(body.contains("audit_record_id"));
    }
    assert_eq!(bodies_with_id, named, "header and body agree");
    let (attempts, summaries) = recorded(&service).await;
    assert!(named < 10);
    assert_eq!(attempts.len(), named);
    assert_eq!(named as u64 + sum(&summaries, "/suppressed"), 10);
}

#[tokio::test]
async fn a_lost_last_summary_is_logged() {
    let service = Service::with(limit(1), |router| router).await;
    let events = platform_harness::events::capture();
    flood(&service, &service.client, "/entries", 10).await;
    let suppressed = service.audit.status().suppressed_attempts;
    assert!(suppressed > 0);
    service.break_records().await;
    service.audit.shutdown().await;
    assert_eq!(service.audit.status().lost_attempts, 1);
    let events = events.text();
    let event = events
        .lines()
        .find(|line| line.contains("ERROR") && line.contains(SUMMARY));
    let event = event.unwrap_or_else(|| panic!("no ERROR event contains the summary: {events}"));
    assert!(
        event.contains("only copy") && event.contains("by_action"),
        "{event}"
    );
}

/// Advances the clock by a minute.
async fn a_minute_passes() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn suppressed_attempts_are_summarised_each_minute() {
    let service = Service::with(limit(1), |router| router).await;
    for _ in 0..2 {
        flood(&service, &service.client, "/entries", 10).await;
        let before = service.records().await;
        a_minute_passes().await;
        service.wait_for_records(before + 1).await;
    }
    let records = service.all_records().await;
    let (summaries, attempts): (Vec<_>, Vec<_>) = records
        .into_iter()
        .partition(|record| record.action == SUMMARY);
    assert_eq!(summaries.len(), 2);
    assert_eq!(sum(&summaries, "/suppressed"), 20 - attempts.len() as u64);
}

#[tokio::test]
async fn a_summary_that_could_not_be_written_is_retried_with_the_next() {
    let service = Service::with(limit(1), |router| router).await;
    let events = platform_harness::events::capture();
    flood(&service, &service.client, "/entries", 10).await;
    let attempts = service.records().await;
    service.break_records().await;
    a_minute_passes().await;
    wait_until(|| async { events.text().contains("could not be written") }).await;
    service.restore_records().await;
    flood(&service, &service.client, "/import", 10).await;
    let (all_attempts, summaries) = recorded(&service).await;
    assert_eq!(summaries.len(), 1, "{summaries:#?}");
    assert_eq!(
        sum(&summaries, "/by_action/entry.create"),
        10 - attempts as u64
    );
    assert_eq!(
        sum(&summaries, "/suppressed"),
        20 - all_attempts.len() as u64
    );
    assert_eq!(service.audit.status().lost_attempts, 0);
}

#[tokio::test]
async fn counts_without_a_summary_are_logged_when_auditing_is_dropped() {
    let service = Service::start().await;
    let events = platform_harness::events::capture();
    let builder = Audit::builder(service.pool.clone(), "ledger").development(true);
    let audit = limit(1)(builder).start().await.unwrap();
    for _ in 0..3 {
        let refused = async |_: &mut Tx| Err::<(), _>(sqlx::Error::RowNotFound);
        let work = audit.transaction(Actor::anonymous(), "user.log_in", refused);
        work.await.unwrap_err();
    }
    assert_eq!(audit.status().suppressed_attempts, 2);
    drop(audit);
    let reported = || {
        let text = events.text();
        text.lines()
            .any(|line| line.contains("ERROR") && line.contains("user.log_in"))
    };
    wait_until(|| async { reported() }).await;
}

/// Sends `times` requests of `user` to `path`, 20 at a time.
async fn flood_as(service: &Service, user: &str, path: &str, times: usize) {
    for _ in 0..times / 20 {
        let posts = (0..20).map(|_| {
            let post = service
                .client
                .post(format!("http://{}{path}", service.address));
            post.header("x-user", user).json(&Entry::new(1)).send()
        });
        for response in join_all(posts).await {
            assert!(
                response
                    .expect("the service responds")
                    .status()
                    .is_client_error()
            );
        }
    }
}

#[tokio::test]
async fn a_flood_by_an_authenticated_actor_is_counted_if_the_service_limits_it() {
    let per_minute = NonZeroU32::new(5).unwrap();
    let service = Service::with(|it| it.actor_attempts(per_minute), |router| router).await;
    let start = Instant::now();
    flood_as(&service, "eve", "/fail/403", 100).await;
    // Each actor and action has its own limit, and anonymous clients have another.
    flood_as(&service, "zoe", "/fail/403", 20).await;
    flood_as(&service, "eve", "/import", 20).await;
    flood(&service, &service.client, "/fail/403", 20).await;
    for _ in 0..20 {
        let done = service.request(reqwest::Method::POST, "/entries");
        let done = done.json(&Entry::new(1)).send().await.unwrap();
        assert_eq!(done.status(), 201, "successes have no limit");
    }
    let allowed = allowed(5, start);

    let (records, summaries) = recorded(&service).await;
    let of = |user: &str, action: &str| {
        let of = records
            .iter()
            .filter(|it| it.actor.id == user && it.action == action);
        of.count()
    };
    for (user, action) in [
        ("eve", "entry.fail"),
        ("zoe", "entry.fail"),
        ("eve", "entry.import"),
    ] {
        let recorded = of(user, action);
        assert!(
            (5..=allowed).contains(&recorded),
            "{user} {action}: {recorded}"
        );
    }
    assert_eq!(of("ada", "entry.create"), 20);
    assert_eq!(
        of("anonymous", "entry.fail"),
        20,
        "anonymous clients have their own limit"
    );
    let eve = of("eve", "entry.fail") + of("eve", "entry.import");
    let zoe = of("zoe", "entry.fail");
    assert_eq!(sum(&summaries, "/suppressed"), (140 - eve - zoe) as u64);
    let top = summaries
        .iter()
        .flat_map(|it| it.details["top_actors"].as_array().unwrap());
    let counted = |user: &str| {
        let of = top
            .clone()
            .filter(|it| it["id"] == user && it["kind"] == "user" && it["tenant"] == "clinic-7");
        of.map(|it| it["suppressed"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(counted("eve"), 120 - eve as u64);
    assert_eq!(counted("zoe"), 20 - zoe as u64);
    assert_eq!(
        service.audit.status().suppressed_attempts,
        sum(&summaries, "/suppressed")
    );
}
