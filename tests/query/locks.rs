//! Locks that somebody else holds.

use std::time::Duration;

use platform_audit::query::AuditQuery;
use platform_audit::{Audit, Error};
use sqlx::{Connection, PgConnection};

use super::cases::{Log, record};

/// The key of the lock that sqlx would take for a migration: a checksum of the database's name.
fn key_of_sqlx(database: &str) -> i64 {
    let mut crc = u32::MAX;
    for byte in database.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    0x3d32_ad9e * i64::from(!crc)
}

#[tokio::test]
async fn no_advisory_lock_keeps_a_schema_from_being_migrated() {
    let mut database = super::database().await;
    let stranger = database.role("stranger", "LOGIN").await;
    let mut stranger = PgConnection::connect(&database.url_as(&stranger))
        .await
        .unwrap();
    let name = database.url().rsplit('/').next().unwrap();
    let schema: &str = "SELECT pg_advisory_lock(hashtextextended('ledger_audit.record', 0))";
    sqlx::query(schema).execute(&mut stranger).await.unwrap();
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(key_of_sqlx(name))
        .execute(&mut stranger)
        .await
        .unwrap();
    let pool = sqlx::PgPool::connect(database.url()).await.unwrap();
    let audit = Audit::builder(pool, "ledger");
    for _ in 0..2 {
        let migrated = tokio::time::timeout(Duration::from_secs(60), audit.migrate()).await;
        migrated.expect("a stranger's lock is waited for").unwrap();
    }
}

/// The application may make partitions, and its transaction may stay open then.
#[tokio::test]
async fn whoever_keeps_readers_waiting_is_named() {
    let log = Log::with(&[record(1)]).await;
    let mut holder = PgConnection::connect(log.database.url()).await.unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut holder)
        .await
        .unwrap();
    let lock = "BEGIN; LOCK TABLE ledger_audit.record_default IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    let query = AuditQuery::new();
    let reading = log.reading.page(&query, None);
    let reading = tokio::time::timeout(Duration::from_secs(60), reading).await;
    let refused = reading.expect("it waits without end").unwrap_err();
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    let said = refused.to_string();
    assert!(
        said.contains(&format!(
            "pid {pid} (role postgres, idle in transaction, in a transaction for 00:00:0"
        )),
        "{said}"
    );
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut holder)
        .await
        .unwrap();
    let page = log.reading.page(&AuditQuery::new(), None).await.unwrap();
    assert_eq!(page.records.len(), 1);
}

#[tokio::test]
async fn a_migration_that_has_to_wait_names_whom_it_waits_for() {
    let log = Log::empty().await;
    let mut holder = PgConnection::connect(log.database.url()).await.unwrap();
    let lock = "BEGIN; LOCK TABLE ledger_audit.migration IN SHARE UPDATE EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    let audit = Audit::builder(log.pool.clone(), "ledger");
    let refused = tokio::time::timeout(Duration::from_secs(60), audit.migrate()).await;
    let refused = refused.expect("it waits without end").unwrap_err();
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    assert!(refused.to_string().contains("role postgres"), "{refused}");
}

/// A partition that is missing costs time, and waiting for it would cost more.
#[tokio::test]
async fn a_reader_that_keeps_partitions_from_being_made_is_named_and_nothing_else_fails() {
    let log = Log::empty().await;
    let last = "DO $$ BEGIN EXECUTE format('DROP TABLE ledger_audit.record_%s', to_char((now() AT TIME ZONE 'UTC') + interval '3 months', 'YYYY_MM')); END $$";
    sqlx::raw_sql(last).execute(&log.pool).await.unwrap();
    let mut reader = PgConnection::connect(log.database.url()).await.unwrap();
    let read = "BEGIN; SELECT count(*) FROM ledger_audit.record";
    sqlx::raw_sql(read).execute(&mut reader).await.unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut reader)
        .await
        .unwrap();
    let events = platform_harness::events::capture();
    let audit = Audit::builder(log.pool.clone(), "ledger").development(true);
    let started = tokio::time::timeout(Duration::from_secs(60), audit.start()).await;
    started.expect("it waits without end").unwrap();
    let events = events.text();
    assert!(
        events.contains(&format!("pid {pid} (role postgres")),
        "{events}"
    );
}

#[tokio::test]
async fn who_makes_partitions_does_not_stay_in_the_transaction() {
    let log = Log::empty().await;
    let mut holder = PgConnection::connect(log.database.url()).await.unwrap();
    let make = "BEGIN; SELECT ledger_audit.maintain(4)";
    sqlx::raw_sql(make).execute(&mut holder).await.unwrap();
    let limit: String = sqlx::query_scalar("SHOW idle_in_transaction_session_timeout")
        .fetch_one(&mut holder)
        .await
        .unwrap();
    assert_eq!(limit, "10s");
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut holder)
        .await
        .unwrap();
    let limit: String = sqlx::query_scalar("SHOW idle_in_transaction_session_timeout")
        .fetch_one(&mut holder)
        .await
        .unwrap();
    assert_eq!(limit, "0");
}
