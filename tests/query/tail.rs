//! Tails, on both stores.

use platform_audit::query::{AuditQuery, Direction, SortBy};
use platform_audit::{Actor, Audit};

use super::cases::{Log, record, record_with};
use super::{Db, insert};

/// Generous timeout.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// A service that writes to the log.
async fn service(log: &Log) -> Audit<Db> {
    let audit = Audit::builder(log.pool.clone(), "ledger").development(true);
    audit.start().await.unwrap()
}

#[tokio::test]
async fn a_tail_delivers_each_new_record_once() {
    let log = Log::with(&[record(1)]).await;
    let mut tail = log
        .reading
        .tail(&AuditQuery::new().actor("ada"))
        .await
        .unwrap();
    let audit = service(&log).await;
    assert!(tail.next_batch().await.unwrap().records.is_empty());
    let mut seen = Vec::new();
    for round in 0..3 {
        for actor in ["ada", "bob"] {
            audit
                .transaction(Actor::user(actor), "entry.create", async |tx| {
                    tx.record("entry", round);
                    Ok::<_, sqlx::Error>(())
                })
                .await
                .unwrap();
        }
        // Records are held back while another test has a transaction open on this server.
        let started = std::time::Instant::now();
        while seen.len() <= round && started.elapsed() < TIMEOUT {
            let delivered = tail.next_batch().await.unwrap().records;
            seen.extend(delivered.into_iter().map(|it| it.resource_id.unwrap()));
        }
    }
    assert_eq!(seen, ["0", "1", "2"]);
    assert!(tail.next_batch().await.unwrap().records.is_empty());
}

#[tokio::test]
async fn a_tail_refuses_a_period_and_records_how_many_records_it_delivered() {
    let log = Log::empty().await;
    let now = jiff::Timestamp::now();
    for (query, name) in [
        (AuditQuery::new().since(now), "since"),
        (AuditQuery::new().until(now), "until"),
        (AuditQuery::new().limit(7), "limit"),
        (
            AuditQuery::new().sort(SortBy::Actor, Direction::Ascending),
            "sort",
        ),
    ] {
        let refused = log.reading.tail(&query).await.unwrap_err().to_string();
        assert!(refused.contains(name), "{refused}");
    }
    let audit = service(&log).await;
    let nobody = AuditQuery::new().actor("nobody");
    let silent = log.reading.tail(&nobody).await.unwrap();
    let mut tails = Vec::new();
    for _ in 0..2 {
        tails.push(log.reading.tail(&AuditQuery::new()).await.unwrap());
    }
    let written = audit.transaction(Actor::user("ada"), "entry.create", async |tx| {
        tx.record("entry", 1);
        Ok::<_, sqlx::Error>(())
    });
    written.await.unwrap();
    // Each delivers the change; the first also delivers the record of the second tail's start.
    for (tail, expected) in tails.iter_mut().zip([2, 1]) {
        let started = std::time::Instant::now();
        let mut delivered = 0;
        while delivered < expected && started.elapsed() < TIMEOUT {
            delivered += tail.next_batch().await.unwrap().records.len();
        }
        assert_eq!(delivered, expected);
    }
    let [mut other, first] = <[_; 2]>::try_from(tails).unwrap();
    first.finish().await.unwrap();
    // The count that one tail records is delivered by the other, and not counted again.
    let started = std::time::Instant::now();
    let mut delivered = Vec::new();
    while delivered.is_empty() && started.elapsed() < TIMEOUT {
        delivered = other.next_batch().await.unwrap().records;
    }
    assert_eq!(delivered[0].details["kind"], "tailed");
    assert_eq!(delivered[0].details["records"], 1);
    other.finish().await.unwrap();
    silent.finish().await.unwrap();
    let readings = AuditQuery::new().action("audit.read");
    let readings = log.reading.page(&readings, None).await.unwrap().records;
    let delivered: Vec<_> = readings
        .iter()
        .filter(|it| it.details["kind"] == "tailed")
        .map(|it| it.details["records"].as_u64().unwrap())
        .collect();
    assert_eq!(
        delivered,
        [2, 1],
        "newest first, and none for the tail that delivered nothing"
    );
}

#[tokio::test]
async fn a_clock_set_back_hides_no_new_records() {
    let log = Log::empty().await;
    let ahead = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let ahead = ahead.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    insert(&log.pool, &record_with(1, "recorded_at", ahead)).await;
    let query = AuditQuery::new().actor("ada");
    let mut tail = log.reading.tail(&query).await.unwrap();
    let audit = Audit::builder(log.pool.clone(), "ledger").development(true);
    let audit = audit.start().await.unwrap();
    let written = audit.transaction(Actor::user("ada"), "entry.create", async |tx| {
        tx.record("entry", 1);
        Ok::<_, sqlx::Error>(())
    });
    written.await.unwrap();
    let started = std::time::Instant::now();
    let mut delivered = Vec::new();
    while delivered.is_empty() && started.elapsed() < TIMEOUT {
        delivered = tail.next_batch().await.unwrap().records;
    }
    assert_eq!(delivered.len(), 1, "{delivered:?}");
    assert_eq!(delivered[0].resource_id.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_large_backlog_is_delivered_once_in_limited_batches() {
    let log = Log::empty().await;
    let mut tail = log
        .reading
        .tail(&AuditQuery::new().actor("ada"))
        .await
        .unwrap();
    let audit = service(&log).await;
    let written = audit.transaction(Actor::user("ada"), "entry.create", async |tx| {
        for n in 0..2_500 {
            tx.record("entry", n);
        }
        Ok::<_, sqlx::Error>(())
    });
    written.await.unwrap();
    let (mut delivered, mut most) = (std::collections::BTreeSet::new(), 0);
    let started = std::time::Instant::now();
    while delivered.len() < 2_500 && started.elapsed() < TIMEOUT {
        let batch = tail.next_batch().await.unwrap();
        most = most.max(batch.records.len());
        let full = batch.records.len() == 1_000;
        assert_eq!(batch.more, full && super::BATCHES_ARE_LIMITED);
        for record in batch.records {
            assert!(
                delivered.insert(record.resource_id.unwrap()),
                "delivered twice"
            );
        }
    }
    assert_eq!(delivered.len(), 2_500);
    assert_eq!(
        most,
        if super::BATCHES_ARE_LIMITED {
            1_000
        } else {
            2_500
        }
    );
    assert!(tail.next_batch().await.unwrap().records.is_empty());
}
