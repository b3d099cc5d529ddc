//! What the records of readings say, on both stores.

use std::collections::BTreeSet;

use platform_audit::query::{AuditQuery, Direction, GroupBy, SortBy};
use platform_audit::{Error, Outcome};
use serde_json::Value;
use uuid::Uuid;

use super::cases::{Log, record};

#[tokio::test]
async fn each_reading_leaves_a_record_of_who_asked_what_and_how_many_came_back() {
    let log = Log::with(&[record(1), record(2)]).await;
    let query = AuditQuery::new().actor("ada");
    log.reading.page(&query, None).await.unwrap();
    log.reading.find(Uuid::from_u128(1)).await.unwrap().unwrap();
    log.reading.history("entry", "7", None).await.unwrap();
    log.reading.count(&query).await.unwrap();
    log.reading.summary(&query, GroupBy::Actor).await.unwrap();
    let mut taken = 0;
    let exported = log
        .reading
        .each(&query, |_| {
            taken += 1;
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
    assert_eq!((exported, taken), (2, 2));
    let readings = AuditQuery::new()
        .action("audit.read")
        .sort(SortBy::RecordedAt, Direction::Ascending);
    let readings = log.reading.page(&readings, None).await.unwrap().records;
    let told: Vec<_> = readings
        .iter()
        .map(|it| {
            (
                it.details["answer"].as_str().unwrap(),
                it.details["records"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told.iter().collect::<BTreeSet<_>>(),
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
        .filter(|it| it.details["query"]["actor"] == "ada");
    assert_eq!(asked.count(), 5);
}

#[tokio::test]
async fn however_long_a_query_is_its_record_says_what_came_of_it() {
    let log = Log::with(&[record(1), record(2)]).await;
    let mut query = AuditQuery::new().actor("ada");
    for _ in 0..2_500 {
        query = query.outcome(Outcome::Success);
    }
    assert_eq!(
        log.reading.page(&query, None).await.unwrap().records.len(),
        2
    );
    let exported = log.reading.each(&query, |_| Ok::<_, Error>(())).await;
    assert_eq!(exported.unwrap(), 2);
    let readings = AuditQuery::new().action("audit.read");
    let readings = log.reading.page(&readings, None).await.unwrap().records;
    let told: Vec<_> = readings
        .iter()
        .map(|it| {
            assert!(!it.cut.is_empty(), "its query was too long: {:?}", it.cut);
            (&it.details["answer"], &it.details["records"])
        })
        .collect();
    let [export, exported, page] = ["export", "exported", "page"].map(Value::from);
    let [none, two] = [0, 2].map(Value::from);
    assert_eq!(told, [(&exported, &two), (&export, &none), (&page, &two)]);
    assert_eq!(readings[0].details["complete"], true);
}

/// What the records of exports say, oldest first: kind, records, `complete` and `continued`.
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
                it["answer"].as_str().unwrap().to_owned(),
                it["records"].as_u64().unwrap(),
                it.get("complete").and_then(Value::as_bool),
                it["continued"].as_bool().unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn an_export_that_breaks_off_leaves_a_record_of_how_far_it_came() {
    let records: Vec<Value> = (1..=1_500).map(record).collect();
    let log = Log::with(&records).await;
    let query = AuditQuery::new().actor("ada");
    let mut taken = 0;
    let broken = log.reading.each(&query, |_| {
        taken += 1;
        if taken == 1_200 {
            return Err(Error::TransactionEnded);
        }
        Ok(())
    });
    assert!(matches!(broken.await, Err(Error::TransactionEnded)));
    let refused = |_| Err(Error::TransactionEnded);
    log.reading.each(&query, refused).await.unwrap_err();

    // Whoever ends it before the last page has not all of it, whatever they say.
    let mut export = log.reading.export(&query, None).await.unwrap();
    let first = export.next_page().await.unwrap().unwrap();
    assert_eq!(first.len(), 1_000);
    assert_eq!(export.end(true).await.unwrap(), 1_000);

    let first = query.clone().limit(1_000);
    let cursor = log.reading.page(&first, None).await.unwrap().next;
    let mut export = log.reading.export(&query, cursor).await.unwrap();
    assert_eq!(export.next_page().await.unwrap().unwrap().len(), 500);
    assert!(export.next_page().await.unwrap().is_none());
    assert_eq!(export.end(true).await.unwrap(), 500);

    let began = |continued| ("export".to_owned(), 0, None, continued);
    let ended =
        |records, complete, continued| ("exported".to_owned(), records, Some(complete), continued);
    assert_eq!(
        exports(&log).await,
        [
            began(false),
            ended(1_500, false, false),
            began(false),
            ended(1_000, false, false),
            began(false),
            ended(1_000, false, false),
            began(true),
            ended(500, true, true),
        ]
    );
}
