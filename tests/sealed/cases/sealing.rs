//! The sealer beside others.

use std::time::Duration;

use platform_audit::seal::Verdict;

use super::{Log, id};

#[tokio::test]
async fn two_sealers_at_once_seal_each_record_once() {
    let log = Log::sealed().await;
    let audits = [
        log.builder().seal(log.sealer()).start().await.unwrap(),
        log.builder().seal(log.sealer()).start().await.unwrap(),
    ];
    for first in (301..700).step_by(10) {
        log.write(first, first + 9).await;
        if first % 100 == 1 {
            // Others run it by hand, too.
            let seal = || async { log.builder().seal_now(&log.sealer()).await };
            let (one, other) = tokio::join!(seal(), seal());
            one.unwrap();
            other.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for audit in &audits {
        audit.shutdown().await;
        assert_eq!(audit.status().seal_failures, 0);
    }
    log.seal().await;
    let report = log.assert_proven().await;
    assert_eq!(
        (report.size, report.checked.records, report.anchored),
        (701, 700, 701)
    );
}

#[tokio::test]
async fn a_verification_beside_a_busy_sealer_finds_nothing() {
    let log = Log::sealed().await;
    let writing = async {
        for first in (301..500).step_by(5) {
            log.write(first, first + 4).await;
            log.seal().await;
        }
    };
    let verifying = async {
        for _ in 0..20 {
            let report = log.report().await;
            assert_eq!(report.verdict(), Verdict::Proven, "{report}");
        }
    };
    tokio::join!(writing, verifying);
    log.assert_proven().await;
}

/// More than a pass seals at once, as a transaction is sealed whole.
#[tokio::test]
async fn a_bulk_transaction_of_25_000_records_is_sealed() {
    let log = Log::sealed().await;
    log.write(301, 25_300).await;
    log.seal().await;
    let report = log.assert_proven().await;
    assert_eq!((report.size, report.checked.records), (25_301, 25_300));
}

/// How long a record can be deleted unseen: from its commit until it is sealed.
#[tokio::test]
async fn a_record_is_sealed_soon_after_its_commit() {
    let log = Log::sealed().await;
    let audit = log.builder().seal(log.sealer()).start().await.unwrap();
    let mut committed = Vec::new();
    let mut sealed = Vec::new();
    let started = std::time::Instant::now();
    let mut n = 300;
    while sealed.len() < 300 {
        if n < 600 {
            n += 1;
            log.write(n, n).await;
            committed.push(started.elapsed());
        }
        let size = log.number("SELECT size FROM @tree").await - 301;
        let now = started.elapsed();
        while i64::try_from(sealed.len()).unwrap() < size {
            sealed.push(now - committed[sealed.len()]);
        }
        assert!(now < Duration::from_secs(120), "{} of 300", sealed.len());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    sealed.sort_unstable();
    eprintln!(
        "from commit to seal: p50 {:?}, p99 {:?}, maximum {:?}",
        sealed[150], sealed[297], sealed[299]
    );
    audit.shutdown().await;
    log.assert_proven().await;
}

#[tokio::test]
async fn a_sealer_without_its_state_says_so() {
    let log = Log::sealed().await;
    log.harm("DELETE FROM @tree").await;
    let refused = log.builder().seal_now(&log.sealer()).await;
    assert!(refused.is_err(), "{refused:?}");
}

#[tokio::test]
async fn a_sealer_of_a_damaged_log_seals_nothing() {
    let log = Log::sealed().await;
    log.write(301, 310).await;
    log.harm(&format!("DELETE FROM @seal WHERE id = '{}'", id(290)))
        .await;
    let refused = log.builder().seal_now(&log.sealer()).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(log.number("SELECT size FROM @tree").await, 301);
}
