//! The records of reads, on both stores.

use std::collections::BTreeSet;

use axum::http::{HeaderValue, Request};
use platform_audit::query::{AuditQuery, Direction, GroupBy, SortBy};
use platform_audit::{Error, Outcome};
use serde_json::Value;
use uuid::Uuid;

use super::cases::{Log, record};

#[tokio::test]
async fn each_read_is_recorded_with_its_actor_query_and_number_of_results() {
    let log = Log::with(&[record(1), record(2)]).await;
    let query = AuditQuery::new().actor("ada");
    log.reading.page(&query, None).await.unwrap();
    log.reading.find(Uuid::from_u128(1)).await.unwrap().unwrap();
    log.reading.history("entry", "7", None).await.unwrap();
    log.reading.count(&query).await.unwrap();
    log.reading.summary(&query, GroupBy::Actor).await.unwrap();
    let mut count = 0;
    let exported = log
        .reading
        .for_each(&query, |_| {
            count += 1;
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
    assert_eq!((exported, count), (2, 2));
    let readings = AuditQuery::new()
        .action("audit.read")
        .sort(SortBy::RecordedAt, Direction::Ascending);
    let readings = log.reading.page(&readings, None).await.unwrap().records;
    let recorded: Vec<_> = readings
        .iter()
        .map(|it| {
            (
                it.details["kind"].as_str().unwrap(),
                it.details["records"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        recorded.iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([
            &("page", 2),
            &("page", 1),
            &("page", 0),
            &("count", 2),
            &("summary", 1),
            &("export", 0),
            &("exported", 2)
        ])
    );
    for reading in &readings {
        assert_eq!(reading.actor.id, "grace");
        assert_eq!(reading.reason.as_deref(), Some("a test"));
        assert_eq!(reading.outcome, Outcome::Success);
    }
    let asked = readings
        .iter()
        .filter(|it| it.details["query"]["actor"][0] == "ada");
    assert_eq!(asked.count(), 5);
}

/// As the record of a change through the same request would.
#[tokio::test]
async fn a_reading_keeps_headers_that_are_not_utf_8_and_names_those_sent_twice() {
    let log = Log::empty().await;
    let request = Request::get("/audit")
        .header("x-request-id", "first")
        .header("x-request-id", "second")
        .header(
            "user-agent",
            HeaderValue::from_bytes(b"agent\xe9/1").unwrap(),
        );
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let reading = log.reading.clone().via_request(&parts);
    reading.page(&AuditQuery::new(), None).await.unwrap();
    let readings = AuditQuery::new().action("audit.read");
    let readings = log.reading.page(&readings, None).await.unwrap().records;
    let [reading] = readings.as_slice() else {
        panic!("{readings:?}");
    };
    assert_eq!(reading.request_id.as_deref(), Some("first"));
    assert_eq!(reading.user_agent.as_deref(), Some("agent\u{fffd}/1"));
    assert_eq!(reading.cut, ["request_id"]);
    assert_eq!(reading.method.as_deref(), Some("GET"));
}

#[tokio::test]
async fn a_query_that_is_too_long_to_be_recorded_is_refused() {
    let log = Log::with(&[record(1), record(2)]).await;
    // Duplicate values are dropped.
    let mut query = AuditQuery::new().actor("ada");
    for _ in 0..2_500 {
        query = query.outcome(Outcome::Success);
    }
    let page = log.reading.page(&query, None).await.unwrap();
    assert_eq!(page.records.len(), 2);
    let long = query.actor("x".repeat(5_000));
    for error in [
        log.reading.page(&long, None).await.unwrap_err(),
        log.reading.export(&long, None).await.unwrap_err(),
        log.reading.count(&long).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::InvalidQuery(_)), "{error}");
    }
    let readings = AuditQuery::new().action("audit.read");
    let readings = log.reading.page(&readings, None).await.unwrap().records;
    assert_eq!(readings.len(), 1);
    assert_eq!(readings[0].details["query"]["outcome"][0], "success");
}

#[tokio::test]
async fn a_recorded_read_contains_its_cursor_position() {
    let log = Log::with(&[record(1), record(2), record(3)]).await;
    let query = AuditQuery::new()
        .actor("ada")
        .sort(SortBy::ResourceId, Direction::Ascending)
        .limit(1);
    let first = log.reading.page(&query, None).await.unwrap();
    let second = log.reading.page(&query, first.next.as_ref());
    let second = second.await.unwrap();
    log.reading
        .page(&query, second.previous.as_ref())
        .await
        .unwrap();
    let export = log.reading.export(&query, first.next).await.unwrap();
    export.finish(false).await.unwrap();
    let readings = AuditQuery::new()
        .action("audit.read")
        .sort(SortBy::RecordedAt, Direction::Ascending);
    let readings = log.reading.page(&readings, None).await.unwrap().records;
    let positions: Vec<_> = readings
        .iter()
        .map(|reading| ["after", "before"].map(|name| reading.details.get(name)))
        .collect();
    let position_of = |n: u32| {
        let id = Uuid::from_u128(u128::from(n)).to_string();
        let at = jiff::Timestamp::from_second(1_735_689_600 + i64::from(n)).unwrap();
        serde_json::json!({"key": "", "recorded_at": at, "id": id})
    };
    let (first, second) = (position_of(1), position_of(2));
    assert_eq!(
        positions,
        [
            [None, None],
            [Some(&first), None],
            [None, Some(&second)],
            [Some(&first), None],
            [Some(&first), None],
        ]
    );
}

#[tokio::test]
async fn an_export_cannot_be_resumed_with_a_cursor_of_another_log() {
    let log = Log::with(&[record(1), record(2)]).await;
    let other = Log::with(&[record(3)]).await;
    let query = AuditQuery::new().actor("ada").limit(1);
    let cursor = log.reading.page(&query, None).await.unwrap().next;
    let error = other.reading.export(&query, cursor.clone()).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("is not in this log"), "{error}");
    let mut export = log.reading.export(&query, cursor).await.unwrap();
    assert_eq!(export.next_page().await.unwrap().unwrap().len(), 1);
    export.finish(true).await.unwrap();
}

#[tokio::test]
async fn an_export_is_settled_once_its_period_has_ended() {
    let log = Log::with(&[record(1)]).await;
    let now = jiff::Timestamp::now();
    let hour = jiff::SignedDuration::from_hours(1);
    for (query, settled) in [
        (AuditQuery::new().until(now - hour), true),
        (AuditQuery::new().until(now + hour), false),
        (AuditQuery::new(), false),
    ] {
        // A transaction of another test on the same server may be open.
        let mut tries = 0;
        let export = loop {
            let export = log.reading.export(&query, None).await.unwrap();
            tries += 1;
            if export.is_settled() == settled || tries == 12 {
                break export;
            }
        };
        assert_eq!(export.is_settled(), settled);
        export.finish(false).await.unwrap();
    }
    let readings = AuditQuery::new().action("audit.read").limit(1);
    let readings = log.reading.page(&readings, None).await.unwrap().records;
    assert_eq!(readings[0].details["settled"], false);
}

/// The records of exports, oldest first: kind, number of records, `complete` and `continued`.
async fn exports(log: &Log) -> Vec<(String, u64, Option<bool>, bool)> {
    let query = AuditQuery::new()
        .action("audit.read")
        .sort(SortBy::RecordedAt, Direction::Ascending);
    let readings = log.reading.page(&query, None).await.unwrap().records;
    readings
        .iter()
        .map(|it| &it.details)
        .filter(|it| it.contains_key("continued"))
        .map(|it| {
            (
                it["kind"].as_str().unwrap().to_owned(),
                it["records"].as_u64().unwrap(),
                it.get("complete").and_then(Value::as_bool),
                it["continued"].as_bool().unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn an_aborted_export_is_recorded_with_the_number_of_records_handed_out() {
    let records: Vec<Value> = (1..=1_500).map(record).collect();
    let log = Log::with(&records).await;
    let query = AuditQuery::new().actor("ada");
    let mut count = 0;
    let broken = log.reading.for_each(&query, |_| {
        count += 1;
        if count == 1_200 {
            return Err(Error::TransactionEnded);
        }
        Ok(())
    });
    assert!(matches!(broken.await, Err(Error::TransactionEnded)));
    let refused = |_| Err(Error::TransactionEnded);
    log.reading.for_each(&query, refused).await.unwrap_err();

    // An export that ends before its last page is not complete, even if the caller says so.
    let mut export = log.reading.export(&query, None).await.unwrap();
    let first = export.next_page().await.unwrap().unwrap();
    assert_eq!(first.len(), 1_000);
    assert_eq!(export.finish(true).await.unwrap(), 1_000);

    let first = query.clone().limit(1_000);
    let cursor = log.reading.page(&first, None).await.unwrap().next;
    let mut export = log.reading.export(&query, cursor).await.unwrap();
    assert_eq!(export.next_page().await.unwrap().unwrap().len(), 500);
    assert!(export.next_page().await.unwrap().is_none());
    assert_eq!(export.finish(true).await.unwrap(), 500);

    let start = |continued| ("export".to_owned(), 0, None, continued);
    let end =
        |records, complete, continued| ("exported".to_owned(), records, Some(complete), continued);
    assert_eq!(
        exports(&log).await,
        [
            start(false),
            end(1_500, false, false),
            start(false),
            end(1_000, false, false),
            start(false),
            end(1_000, false, false),
            start(true),
            end(500, true, true),
        ]
    );
}
