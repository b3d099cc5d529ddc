//! The number of records that the check at COMMIT reads does not grow with the transaction.

use sqlx::PgConnection;

use super::Who::App;
use super::{Guarded, run};

/// The number of rows of the record tables that this transaction has read.
async fn read(connection: &mut PgConnection) -> f64 {
    sqlx::query_scalar(
        "SELECT COALESCE(sum(seq_tup_read + idx_tup_fetch), 0)::float8 FROM pg_stat_xact_user_tables WHERE schemaname = 'ledger_audit'",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

const CHANGES: u32 = 10;
/// The number of records that the checks may read. A check reads one record; one that searches all
/// partitions fetches ten at a time.
const MOST: f64 = 12.0 * CHANGES as f64;

/// Returns how many records the checks of many changes read, in a transaction that wrote `records`
/// records with the statement `write`.
async fn read_of(guarded: &Guarded, records: u32, write: &str) -> f64 {
    let records = format!(
        "INSERT INTO ledger_audit.record_insert (id, occurred_at, service, actor_kind, actor_id, action, outcome)
         SELECT gen_random_uuid(), now(), 'ledger', 'user', 'ada', 'entry.create', 'success' FROM generate_series(1, {records})"
    );
    let mut connection = guarded.connect(App).await;
    for step in [
        "BEGIN",
        &format!("INSERT INTO entry SELECT i, i FROM generate_series(10, 9 + {CHANGES}) AS i"),
        &write.replace("RECORDS", &records),
    ] {
        run(&mut connection, step).await.expect(step);
    }
    let before = read(&mut connection).await;
    // Runs the deferred checks, as COMMIT would.
    run(&mut connection, "SET CONSTRAINTS ALL IMMEDIATE")
        .await
        .unwrap();
    read(&mut connection).await - before
}

#[tokio::test]
async fn the_check_reads_few_records_however_many_the_transaction_wrote() {
    let guarded = Guarded::new().await;
    for records in [1, 3_000] {
        let read = read_of(&guarded, records, "RECORDS").await;
        assert!(
            (1.0..=MOST).contains(&read),
            "{read} of {records} for {CHANGES} changes"
        );
    }
}

/// A record in a savepoint is searched in every partition, since a savepoint has its own
/// transaction id.
#[tokio::test]
async fn the_check_reads_few_records_however_many_were_written_in_a_savepoint() {
    let guarded = Guarded::new().await;
    let write = "SAVEPOINT s; RECORDS; RELEASE s";
    for records in [1, 3_000] {
        let read = read_of(&guarded, records, write).await;
        assert!(
            (f64::from(CHANGES)..=MOST).contains(&read),
            "{read} of {records} for {CHANGES} changes"
        );
    }
}
