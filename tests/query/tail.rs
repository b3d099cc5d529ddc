//! Records that are followed, on both stores.

use platform_audit::query::{AuditQuery, Direction, SortBy};
use platform_audit::{Actor, Audit};

use super::cases::{Log, but, record};
use super::{Db, insert};

/// Long enough for anything that should happen.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// What writes into the log.
async fn service(log: &Log) -> Audit<Db> {
    let audit = Audit::builder(log.pool.clone(), "ledger").development(true);
    audit.start().await.unwrap()
}

#[tokio::test]
async fn a_tail_tells_each_new_record_once() {
    let log = Log::with(&[record(1)]).await;
    let mut tail = log
        .reading
        .tail(&AuditQuery::new().actor("ada"))
        .await
        .unwrap();
    let audit = service(&log).await;
    assert!(tail.look().await.unwrap().records.is_empty());
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
        // Later ones wait for whoever has a transaction open on this server, another test perhaps.
        let began = std::time::Instant::now();
        while seen.len() <= round && began.elapsed() < PATIENCE {
            let told = tail.look().await.unwrap().records;
            seen.extend(told.into_iter().map(|it| it.resource_id.unwrap()));
        }
    }
    assert_eq!(seen, ["0", "1", "2"]);
    assert!(tail.look().await.unwrap().records.is_empty());
}

#[tokio::test]
async fn a_tail_takes_no_period_and_leaves_a_record_of_what_it_told() {
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
    // Each tells of the change, and the first of the other's beginning too.
    for (tail, expected) in tails.iter_mut().zip([2, 1]) {
        let began = std::time::Instant::now();
        let mut told = 0;
        while told < expected && began.elapsed() < PATIENCE {
            told += tail.look().await.unwrap().records.len();
        }
        assert_eq!(told, expected);
    }
    let [mut other, first] = <[_; 2]>::try_from(tails).unwrap();
    first.end().await.unwrap();
    // That a tail told something is told, and is no reading of its own.
    let began = std::time::Instant::now();
    let mut told = Vec::new();
    while told.is_empty() && began.elapsed() < PATIENCE {
        told = other.look().await.unwrap().records;
    }
    assert_eq!(told[0].details["answer"], "tailed");
    assert_eq!(told[0].details["records"], 1);
    other.end().await.unwrap();
    silent.end().await.unwrap();
    let readings = AuditQuery::new().action("audit.read");
    let readings = log.reading.page(&readings, None).await.unwrap().records;
    let told: Vec<_> = readings
        .iter()
        .filter(|it| it.details["answer"] == "tailed")
        .map(|it| it.details["records"].as_u64().unwrap())
        .collect();
    assert_eq!(
        told,
        [2, 1],
        "newest first, and none of a tail that told nothing"
    );
}

#[tokio::test]
async fn a_clock_that_was_set_back_hides_nothing() {
    let log = Log::empty().await;
    let ahead = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let ahead = ahead.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    insert(&log.pool, &but(1, "recorded_at", ahead)).await;
    let query = AuditQuery::new().actor("ada");
    let mut tail = log.reading.tail(&query).await.unwrap();
    let audit = Audit::builder(log.pool.clone(), "ledger").development(true);
    let audit = audit.start().await.unwrap();
    let written = audit.transaction(Actor::user("ada"), "entry.create", async |tx| {
        tx.record("entry", 1);
        Ok::<_, sqlx::Error>(())
    });
    written.await.unwrap();
    let began = std::time::Instant::now();
    let mut told = Vec::new();
    while told.is_empty() && began.elapsed() < PATIENCE {
        told = tail.look().await.unwrap().records;
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].resource_id.as_deref(), Some("1"));
}

#[tokio::test]
async fn however_much_was_held_up_it_is_told_once_and_bit_by_bit() {
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
    let (mut told, mut most) = (std::collections::BTreeSet::new(), 0);
    let began = std::time::Instant::now();
    while told.len() < 2_500 && began.elapsed() < PATIENCE {
        let tailed = tail.look().await.unwrap();
        most = most.max(tailed.records.len());
        let full = tailed.records.len() == 1_000;
        assert_eq!(tailed.more, full && super::BIT_BY_BIT);
        for record in tailed.records {
            assert!(told.insert(record.resource_id.unwrap()), "told twice");
        }
    }
    assert_eq!(told.len(), 2_500);
    assert_eq!(most, if super::BIT_BY_BIT { 1_000 } else { 2_500 });
    assert!(tail.look().await.unwrap().records.is_empty());
}
