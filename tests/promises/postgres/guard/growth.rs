//! What the check at COMMIT reads, however much a transaction did.

use sqlx::PgConnection;

use super::Who::App;
use super::{Guarded, run};

/// Rows of the records' tables that this transaction has read.
async fn read(connection: &mut PgConnection) -> f64 {
    sqlx::query_scalar(
        "SELECT COALESCE(sum(seq_tup_read + idx_tup_fetch), 0)::float8 FROM pg_stat_xact_user_tables WHERE schemaname = 'ledger_audit'",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

const CHANGES: u32 = 10;
/// What they may read. A check reads one record; one that looks everywhere fetches ten at once.
const MOST: f64 = 12.0 * CHANGES as f64;

/// How many records the checks of so many changes read, in a transaction that wrote `records` of
/// them, as `write` says.
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
    // What COMMIT would do.
    run(&mut connection, "SET CONSTRAINTS ALL IMMEDIATE")
        .await
        .unwrap();
    read(&mut connection).await - before
}

#[tokio::test]
async fn a_check_reads_few_records_however_many_the_transaction_wrote() {
    let guarded = Guarded::new().await;
    for records in [1, 3_000] {
        let read = read_of(&guarded, records, "RECORDS").await;
        assert!(
            (1.0..=MOST).contains(&read),
            "{read} of {records} for {CHANGES} changes"
        );
    }
}

/// A record in a savepoint is looked for in every partition, since its writer has a number of its
/// own.
#[tokio::test]
async fn a_check_reads_few_records_however_many_were_written_in_a_savepoint() {
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
