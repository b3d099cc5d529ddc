//! A tail beside writers whose transactions take long and end in another order than they began.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use platform_audit::Actor;
use platform_audit::query::{AuditQuery, AuditReader};

use super::cases::Log;

const WRITERS: usize = 16;
const RECORDS: usize = 40;
/// Another test's transaction on this server may hold a tail up for a while.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

#[tokio::test]
async fn beside_sixteen_writers_each_record_is_told_exactly_once() {
    let log = Log::empty().await;
    let reading = AuditReader::new(log.pool.clone(), "ledger")
        .unwrap()
        .asked_by(Actor::user("grace"));
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
                    // Some stay open long after others that began later were committed.
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
    let mut told = BTreeMap::new();
    let began = std::time::Instant::now();
    while began.elapsed() < PATIENCE {
        let finished = done.load(Ordering::SeqCst) == WRITERS;
        for record in tail.look().await.unwrap().records {
            *told
                .entry((record.actor.id, record.resource_id))
                .or_insert(0) += 1;
        }
        // Another database's transaction may hold the horizon for a while.
        if finished && told.len() == WRITERS * RECORDS {
            break;
        }
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(told.len(), WRITERS * RECORDS);
    assert!(told.values().all(|times| *times == 1), "{told:?}");
}

#[tokio::test]
async fn what_was_committed_before_is_not_told_though_an_older_transaction_goes_on() {
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
        .asked_by(Actor::user("grace"));
    let query = AuditQuery::new().action("entry.write");
    let mut tail = reading.tail(&query).await.unwrap();
    write("after").await;
    older.rollback().await.unwrap();
    let mut told = Vec::new();
    let began = std::time::Instant::now();
    while !told.iter().any(|entry| entry == "after") {
        assert!(began.elapsed() < PATIENCE, "it is not told");
        let records = tail.look().await.unwrap().records;
        told.extend(records.into_iter().filter_map(|it| it.resource_id));
    }
    assert_eq!(told, ["after"]);
}

/// A restored record bears a number that this server has yet to reach, and is not new then.
#[tokio::test]
async fn after_a_restore_a_tail_tells_no_old_record() {
    let log = Log::empty().await;
    // As a dump of a server that counted further leaves them.
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
    let mut told = Vec::new();
    let began = std::time::Instant::now();
    while told.len() <= written {
        assert!(began.elapsed() < PATIENCE, "not all are told: {told:?}");
        told.extend(tail.look().await.unwrap().records);
    }
    let told: Vec<_> = told.into_iter().map(|it| it.resource_id).collect();
    let expected: Vec<_> = (0..=written).map(|n| Some(n.to_string())).collect();
    assert_eq!(told, expected);
}

/// What is committed late lies in a period that an export of it has not seen.
#[tokio::test]
async fn an_export_waits_for_the_transactions_of_its_period_and_says_if_they_go_on() {
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
    export.end(true).await.unwrap();

    let committed = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        late.commit().await.unwrap();
    };
    let (export, ()) = tokio::join!(log.reading.export(&query, None), committed);
    let mut export = export.unwrap();
    assert_eq!(export.next_page().await.unwrap().unwrap().len(), 1);
    export.end(true).await.unwrap();
}
