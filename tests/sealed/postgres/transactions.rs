//! The sealer beside open, prepared, nested and restored transactions.

use platform_audit::Audit;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::cases::{Log, id};
use super::records;

async fn execute(connection: &mut PgConnection, statements: &str) {
    let statements = statements.replace('@', super::PREFIX);
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(connection)
        .await
        .unwrap();
}

async fn size(log: &Log) -> i64 {
    log.number("SELECT size FROM @tree").await
}

#[tokio::test]
async fn an_open_writer_and_a_prepared_transaction_stall_only_themselves() {
    let log = Log::sealed().await;
    let mut open = PgConnection::connect(log.database.url()).await.unwrap();
    execute(&mut open, &format!("BEGIN; {}", records(401, 402))).await;
    let name = log.database.url().rsplit('/').next().unwrap();
    let mut prepared = PgConnection::connect(log.database.url()).await.unwrap();
    let prepare = format!("BEGIN; {}; PREPARE TRANSACTION '{name}'", records(501, 503));
    execute(&mut prepared, &prepare).await;

    log.write(301, 310).await;
    log.seal().await;
    assert_eq!(size(&log).await, 311);
    for n in [311, 312] {
        log.write(n, n).await;
        log.seal().await;
        assert_eq!(size(&log).await, i64::from(n) + 1);
        log.assert_proven().await;
    }
    execute(&mut open, "COMMIT").await;
    log.seal().await;
    assert_eq!(size(&log).await, 315);
    execute(&mut prepared, &format!("COMMIT PREPARED '{name}'")).await;
    log.seal().await;
    assert_eq!(size(&log).await, 318);
    let report = log.assert_proven().await;
    assert_eq!((report.checked.records, report.unsealed), (317, 0));
}

#[tokio::test]
async fn records_of_savepoints_are_sealed_and_those_rolled_back_are_not() {
    let log = Log::sealed().await;
    let mut connection = PgConnection::connect(log.database.url()).await.unwrap();
    let begin = format!(
        "BEGIN; SAVEPOINT one; {}; SAVEPOINT two; {}; ROLLBACK TO two; SAVEPOINT three; {}",
        records(301, 302),
        records(401, 402),
        records(303, 304)
    );
    execute(&mut connection, &begin).await;
    log.seal().await;
    assert_eq!(size(&log).await, 301);
    execute(
        &mut connection,
        &format!("RELEASE three; {}; COMMIT", records(305, 305)),
    )
    .await;
    log.seal().await;
    assert_eq!(size(&log).await, 306);
    let report = log.assert_proven().await;
    assert_eq!((report.checked.records, report.unsealed), (305, 0));
}

/// More savepoints than a server keeps in memory for each session.
#[tokio::test]
async fn records_of_very_many_savepoints_are_sealed() {
    let log = Log::sealed().await;
    let mut connection = PgConnection::connect(log.database.url()).await.unwrap();
    let nested: String = (301..=420)
        .map(|n| format!("SAVEPOINT s; {}; ", records(n, n)))
        .collect();
    execute(&mut connection, &format!("BEGIN; {nested}")).await;
    log.write(421, 430).await;
    log.seal().await;
    assert_eq!(size(&log).await, 311);
    execute(&mut connection, "COMMIT").await;
    log.seal().await;
    assert_eq!(size(&log).await, 431);
    log.assert_proven().await;
}

/// The numbers of their transactions are those of another server, which this one has yet to assign.
#[tokio::test]
async fn records_restored_from_another_server_are_sealed_beside_new_ones() {
    let log = Log::empty().await;
    log.write(1, 100).await;
    log.harm("UPDATE @record SET xid = (xid::text::bigint + 1000000)::text::xid8")
        .await;
    log.seal().await;
    assert_eq!(size(&log).await, 101);
    for n in [101, 102] {
        log.write(n, n).await;
        log.seal().await;
    }
    assert_eq!(size(&log).await, 103);
    let report = log.assert_proven().await;
    assert_eq!((report.checked.records, report.unsealed), (102, 0));
}

/// As after a dump of the whole database: also the state of the sealer is that of another server.
#[tokio::test]
async fn a_sealed_log_restored_on_another_server_is_continued() {
    let log = Log::sealed().await;
    log.write(301, 305).await;
    log.harm(
        "UPDATE @record SET xid = (xid::text::bigint + 1000000)::text::xid8;
        UPDATE @tree SET system_identifier = system_identifier + 1, seen = '500000:500000:'",
    )
    .await;
    // Numbers are hashed, so those of the sealed records have to be what they were.
    log.harm(&format!(
        "UPDATE @record SET xid = (xid::text::bigint - 1000000)::text::xid8 WHERE id <= '{}'",
        id(300)
    ))
    .await;
    log.write(306, 310).await;
    log.seal().await;
    assert_eq!(size(&log).await, 311);
    log.write(311, 312).await;
    log.seal().await;
    assert_eq!(size(&log).await, 313);
    let report = log.assert_proven().await;
    assert_eq!((report.checked.records, report.unsealed), (312, 0));
}

#[tokio::test]
async fn sealing_continues_after_another_session_locked_the_tree() {
    let log = Log::sealed().await;
    log.write(301, 310).await;
    let mut locking = PgConnection::connect(log.database.url()).await.unwrap();
    execute(&mut locking, "BEGIN; SELECT FROM @tree FOR UPDATE").await;
    let sealed = log.builder().seal_now(&log.sealer()).await.unwrap();
    assert!(sealed.busy && sealed.sealed == 0, "{sealed:?}");
    execute(&mut locking, "COMMIT").await;
    log.seal().await;
    assert_eq!(size(&log).await, 311);
    log.assert_proven().await;
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_an_error_and_never_clean() {
    let mut log = Log::sealed().await;
    let stranger = log.database.role("stranger", "LOGIN").await;
    let pool = sqlx::PgPool::connect(&log.database.url_as(&stranger))
        .await
        .unwrap();
    let builder = Audit::builder(pool, "ledger").development(true);
    let options = log.options().tiles(log.published());
    let refused = builder.verify(&options).await;
    assert!(refused.is_err(), "{refused:?}");
}
