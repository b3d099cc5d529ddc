//! Behaviour while other sessions hold locks.

use std::time::Duration;

use platform_audit::query::AuditQuery;
use platform_audit::{Audit, Error};
use sqlx::{Connection, PgConnection};

use super::cases::{Log, record};

/// The advisory lock key that sqlx uses for migrations: a checksum of the database name.
fn sqlx_migration_lock_key(database: &str) -> i64 {
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
async fn a_foreign_advisory_lock_does_not_block_migration() {
    let mut database = super::database().await;
    let stranger = database.role("stranger", "LOGIN").await;
    let mut stranger = PgConnection::connect(&database.url_as(&stranger))
        .await
        .unwrap();
    let name = database.url().rsplit('/').next().unwrap();
    let schema: &str = "SELECT pg_advisory_lock(hashtextextended('ledger_audit.record', 0))";
    sqlx::query(schema).execute(&mut stranger).await.unwrap();
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(sqlx_migration_lock_key(name))
        .execute(&mut stranger)
        .await
        .unwrap();
    let pool = sqlx::PgPool::connect(database.url()).await.unwrap();
    let audit = Audit::builder(pool, "ledger");
    for _ in 0..2 {
        let migrated = tokio::time::timeout(Duration::from_secs(60), audit.migrate()).await;
        migrated
            .expect("timed out waiting for the foreign lock")
            .unwrap();
    }
}

/// The application may create partitions and leave its transaction open.
#[tokio::test]
async fn the_error_of_a_blocked_read_names_the_blocking_session() {
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
    let refused = reading.expect("timed out").unwrap_err();
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    let message = refused.to_string();
    assert!(
        message.contains(&format!(
            "pid {pid} (role postgres, idle in transaction, in a transaction for 00:00:0"
        )),
        "{message}"
    );
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut holder)
        .await
        .unwrap();
    let page = log.reading.page(&AuditQuery::new(), None).await.unwrap();
    assert_eq!(page.records.len(), 1);
}

#[tokio::test]
async fn the_error_of_a_blocked_migration_names_the_blocking_session() {
    let log = Log::empty().await;
    let mut holder = PgConnection::connect(log.database.url()).await.unwrap();
    let lock = "BEGIN; LOCK TABLE ledger_audit.migration IN SHARE UPDATE EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    let audit = Audit::builder(log.pool.clone(), "ledger");
    let refused = tokio::time::timeout(Duration::from_secs(60), audit.migrate()).await;
    let refused = refused.expect("timed out").unwrap_err();
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    assert!(refused.to_string().contains("role postgres"), "{refused}");
}

/// A missing partition is a performance problem; waiting for the lock would be worse.
#[tokio::test]
async fn a_reader_that_blocks_partition_creation_is_logged_and_the_service_starts() {
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
async fn creating_partitions_sets_an_idle_transaction_timeout() {
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
