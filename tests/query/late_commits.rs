//! Tails and exports beside long transactions that commit out of order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use platform_audit::Actor;
use platform_audit::query::{AuditQuery, AuditReader};

use super::cases::Log;

const WRITERS: usize = 16;
const RECORDS: usize = 40;
/// A transaction of another test on the same server may hold back the tail.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(120);

#[tokio::test]
async fn a_tail_delivers_each_record_exactly_once_beside_sixteen_writers() {
    let log = Log::empty().await;
    let reading = AuditReader::new(log.pool.clone(), "ledger")
        .unwrap()
        .read_as(Actor::user("grace"));
    let query = AuditQuery::new().action("entry.write");
    let mut tail = reading.tail(&query).await.unwrap();
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(WRITERS as u32)
        .connect(log.database.url())
        .await
        .unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (pool, done) = (pool.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                for n in 0..RECORDS {
                    let mut tx = pool.begin().await.unwrap();
                    sqlx::query("SELECT ledger_audit.write_record(actor => $1, action => 'entry.write', reason => 'a test', resource_type => 'entry', resource_id => $2)")
                        .bind(format!("writer-{writer}"))
                        .bind(n.to_string())
                        .execute(&mut *tx)
                        .await
                        .unwrap();
                    // Some stay open after later transactions have committed.
                    if (writer + n) % 5 == 0 {
                        let long = "SELECT pg_sleep(0.05)";
                        sqlx::query(long).execute(&mut *tx).await.unwrap();
                    }
                    tx.commit().await.unwrap();
                }
                done.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    let mut delivered = BTreeMap::new();
    let started = std::time::Instant::now();
    while started.elapsed() < TIMEOUT {
        let finished = done.load(Ordering::SeqCst) == WRITERS;
        for record in tail.next_batch().await.unwrap().records {
            *delivered
                .entry((record.actor.id, record.resource_id))
                .or_insert(0) += 1;
        }
        // A transaction in another database may hold back the snapshot horizon.
        if finished && delivered.len() == WRITERS * RECORDS {
            break;
        }
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(delivered.len(), WRITERS * RECORDS);
    assert!(delivered.values().all(|times| *times == 1), "{delivered:?}");
}

#[tokio::test]
async fn a_tail_skips_records_committed_before_it_started_while_an_older_transaction_is_open() {
    let log = Log::empty().await;
    let write = async |entry: &str| {
        sqlx::query("SELECT ledger_audit.write_record(actor => 'ada', action => 'entry.write', reason => 'a test', resource_type => 'entry', resource_id => $1)")
            .bind(entry)
            .execute(&log.pool)
            .await
            .unwrap();
    };
    let mut older = log.pool.begin().await.unwrap();
    sqlx::query("SELECT pg_current_xact_id()::text")
        .execute(&mut *older)
        .await
        .unwrap();
    write("before").await;
    let reading = AuditReader::new(log.pool.clone(), "ledger")
        .unwrap()
        .read_as(Actor::user("grace"));
    let query = AuditQuery::new().action("entry.write");
    let mut tail = reading.tail(&query).await.unwrap();
    write("after").await;
    older.rollback().await.unwrap();
    let mut delivered = Vec::new();
    let started = std::time::Instant::now();
    while !delivered.iter().any(|entry| entry == "after") {
        assert!(started.elapsed() < TIMEOUT, "the record is not delivered");
        let records = tail.next_batch().await.unwrap().records;
        delivered.extend(records.into_iter().filter_map(|it| it.resource_id));
    }
    assert_eq!(delivered, ["after"]);
}

/// A restored record has a transaction id that this server has not reached yet; it is not new once
/// the server does.
#[tokio::test]
async fn a_tail_skips_records_restored_from_a_backup() {
    let log = Log::empty().await;
    // As restored from a dump of a server with higher transaction ids.
    let restore = "INSERT INTO ledger_audit.record (id, xid, recorded_at, occurred_at, service, actor_kind, actor_id, action, outcome)
         SELECT gen_random_uuid(), (pg_current_xact_id()::text::bigint + i)::text::xid8, now() - interval '1 hour', now(), 'ledger', 'user', 'ada', 'entry.write', 'success'
         FROM generate_series(1, 200) AS i RETURNING xid::text";
    let last: Vec<String> = sqlx::query_scalar(restore)
        .fetch_all(&log.pool)
        .await
        .unwrap();
    let last: u64 = last.last().unwrap().parse().unwrap();
    let query = AuditQuery::new().action("entry.write");
    let mut tail = log.reading.tail(&query).await.unwrap();
    let write = async |entry: &str| -> u64 {
        let mut tx = log.pool.begin().await.unwrap();
        sqlx::query("SELECT ledger_audit.write_record(actor => 'ada', action => 'entry.write', reason => 'a test', resource_type => 'entry', resource_id => $1)")
            .bind(entry)
            .execute(&mut *tx)
            .await
            .unwrap();
        let xid: String = sqlx::query_scalar("SELECT pg_current_xact_id()::text")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        xid.parse().unwrap()
    };
    let mut written = 0;
    while write(&written.to_string()).await <= last {
        written += 1;
    }
    let mut delivered = Vec::new();
    let started = std::time::Instant::now();
    while delivered.len() <= written {
        assert!(
            started.elapsed() < TIMEOUT,
            "records are missing: {delivered:?}"
        );
        delivered.extend(tail.next_batch().await.unwrap().records);
    }
    let delivered: Vec<_> = delivered.into_iter().map(|it| it.resource_id).collect();
    let expected: Vec<_> = (0..=written).map(|n| Some(n.to_string())).collect();
    assert_eq!(delivered, expected);
}

#[tokio::test]
async fn a_tail_skips_a_restored_record_that_has_the_id_of_a_running_transaction() {
    let log = Log::empty().await;
    let mut running = log.pool.begin().await.unwrap();
    let xid: String = sqlx::query_scalar("SELECT pg_current_xact_id()::text")
        .fetch_one(&mut *running)
        .await
        .unwrap();
    sqlx::query("INSERT INTO ledger_audit.record (id, xid, recorded_at, occurred_at, service, actor_kind, actor_id, action, outcome)
         VALUES (gen_random_uuid(), $1::xid8, now() - interval '1 hour', now(), 'ledger', 'user', 'ada', 'entry.write', 'success')")
        .bind(&xid)
        .execute(&log.pool)
        .await
        .unwrap();
    let query = AuditQuery::new().action("entry.write");
    let mut tail = log.reading.tail(&query).await.unwrap();
    sqlx::query("SELECT ledger_audit.write_record(actor => 'ada', action => 'entry.write', reason => 'a test', resource_type => 'entry', resource_id => 'new')")
        .execute(&mut *running)
        .await
        .unwrap();
    running.commit().await.unwrap();
    let mut delivered = Vec::new();
    let started = std::time::Instant::now();
    while !delivered.contains(&Some("new".to_owned())) {
        assert!(started.elapsed() < TIMEOUT, "{delivered:?}");
        let batch = tail.next_batch().await.unwrap();
        delivered.extend(batch.records.into_iter().map(|it| it.resource_id));
    }
    assert_eq!(delivered, [Some("new".to_owned())]);
}

/// A transaction that commits late adds records to a period that was already exported.
#[tokio::test]
async fn an_export_waits_for_open_transactions_of_its_period_and_reports_if_they_stay_open() {
    let log = Log::empty().await;
    let pool = sqlx::PgPool::connect(log.database.url()).await.unwrap();
    let mut late = pool.begin().await.unwrap();
    sqlx::query("SELECT ledger_audit.write_record(actor => 'ada', action => 'entry.write', reason => 'a test')")
        .execute(&mut *late)
        .await
        .unwrap();
    let query = AuditQuery::new()
        .action("entry.write")
        .until(jiff::Timestamp::now());
    let mut export = log.reading.export(&query, None).await.unwrap();
    assert!(!export.is_settled());
    assert!(export.next_page().await.unwrap().unwrap().is_empty());
    export.finish(true).await.unwrap();

    let committed = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        late.commit().await.unwrap();
    };
    let (export, ()) = tokio::join!(log.reading.export(&query, None), committed);
    let mut export = export.unwrap();
    assert_eq!(export.next_page().await.unwrap().unwrap().len(), 1);
    export.finish(true).await.unwrap();
}
