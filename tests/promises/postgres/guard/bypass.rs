//! Every way to change a guarded table without a record.

use super::Who::{App, Owner, Superuser};
use super::{Guarded, RECORD};

/// One test per case: the role, and the statements.
macro_rules! refused {
    ($($name:ident: $who:expr, [$($step:expr),* $(,)?];)*) => {$(
        #[tokio::test]
        async fn $name() {
            Guarded::new().await.refuses($who, &[$($step),*]).await;
        }
    )*};
}

const MANY: &str = "INSERT INTO entry SELECT i, i FROM generate_series(100, 30000) AS i";

refused! {
    insert: App, ["INSERT INTO entry VALUES (3, 30)"];
    insert_in_a_transaction: App, ["BEGIN", "INSERT INTO entry VALUES (3, 30)", "COMMIT"];
    insert_as_the_owner: Owner, ["INSERT INTO entry VALUES (3, 30)"];
    insert_as_a_superuser: Superuser, ["INSERT INTO entry VALUES (3, 30)"];
    update: App, ["UPDATE entry SET amount = 0"];
    delete: App, ["DELETE FROM entry"];
    merge: App, ["MERGE INTO entry USING (VALUES (1, 5), (9, 9)) AS new (id, amount) ON entry.id = new.id WHEN MATCHED THEN UPDATE SET amount = new.amount WHEN NOT MATCHED THEN INSERT VALUES (new.id, new.amount)"];
    copy: App, ["COPY entry FROM STDIN: 7\t70\n8\t80\n"];
    upsert_that_inserts: App, ["INSERT INTO entry VALUES (3, 30) ON CONFLICT (id) DO NOTHING"];
    upsert_that_updates: App, ["INSERT INTO entry VALUES (1, 30) ON CONFLICT (id) DO UPDATE SET amount = 0"];
    delete_that_cascades_into_a_guarded_child: App, ["DELETE FROM parent WHERE id = 1"];
    update_that_cascades_into_a_guarded_child: App, ["UPDATE parent SET id = 7 WHERE id = 1"];
    write_in_a_function: App, ["SELECT add_entry(5)"];
    write_in_a_do_block: App, ["DO $$ BEGIN INSERT INTO entry VALUES (5, 1); UPDATE entry SET amount = 3; END $$"];
    write_in_a_caught_block: App, ["DO $$ BEGIN BEGIN INSERT INTO entry VALUES (5, 1); RAISE 'x'; EXCEPTION WHEN OTHERS THEN NULL; END; INSERT INTO entry VALUES (6, 1); END $$"];
    write_in_a_cte: App, ["WITH moved AS (DELETE FROM entry WHERE id = 1 RETURNING *) SELECT * FROM moved"];
    record_rolled_back_with_a_savepoint: App, ["BEGIN", "INSERT INTO entry VALUES (3, 30)", "SAVEPOINT s", RECORD, "ROLLBACK TO s", "COMMIT"];
    change_in_a_savepoint_after_a_rolled_back_record: App, ["BEGIN", "SAVEPOINT s", RECORD, "ROLLBACK TO s", "SAVEPOINT t", "UPDATE entry SET amount = 1", "RELEASE t", "COMMIT"];
    change_after_a_rolled_back_change: App, ["BEGIN", "SAVEPOINT s", "INSERT INTO entry VALUES (3, 30)", "ROLLBACK TO s", "INSERT INTO entry VALUES (4, 40)", "COMMIT"];
    record_of_a_failed_attempt: App, [
        "BEGIN", "INSERT INTO entry VALUES (3, 30)",
        "INSERT INTO ledger_audit.record_insert (id, occurred_at, service, actor_kind, actor_id, action, outcome) VALUES (gen_random_uuid(), now(), 'ledger', 'user', 'ada', 'entry.create', 'denied')",
        "COMMIT"];
    record_of_the_previous_transaction: App, [RECORD, "INSERT INTO entry VALUES (3, 30)"];
    partition_attached_later: App, ["INSERT INTO measure VALUES (11, 1)", "INSERT INTO measure VALUES (21, 1)"];
    partition_attached_later_with_other_columns: App, ["INSERT INTO measure VALUES (21, 1)"];
    write_into_a_partition_directly: App, ["INSERT INTO measure_2 VALUES (11, 1)"];
    copy_into_partitions: App, ["COPY measure FROM STDIN: 1\t5\n11\t5\n21\t5\n"];
    update_that_moves_between_partitions: App, ["UPDATE measure SET day = 12"];
    truncate: Owner, ["TRUNCATE entry"];
    truncate_of_a_partitioned_table: Owner, ["TRUNCATE measure"];
    truncate_of_a_partition: Owner, ["TRUNCATE measure_1"];
    truncate_that_cascades: Owner, ["TRUNCATE parent CASCADE"];
    constraints_made_immediate_before: App, ["BEGIN", "SET CONSTRAINTS ALL IMMEDIATE", "INSERT INTO entry VALUES (3, 30)", "COMMIT"];
    constraints_made_immediate_after: App, ["BEGIN", "INSERT INTO entry VALUES (3, 30)", "SET CONSTRAINTS ALL IMMEDIATE", "COMMIT"];
    immediate_constraints_with_a_record_that_is_rolled_back: App, ["BEGIN", "INSERT INTO entry VALUES (3, 30)", "SAVEPOINT s", RECORD, "SET CONSTRAINTS ALL IMMEDIATE", "ROLLBACK TO s", "COMMIT"];
    many_rows_with_a_record_that_is_rolled_back: App, ["BEGIN", "SAVEPOINT s", RECORD, "SET CONSTRAINTS ALL IMMEDIATE", MANY, "ROLLBACK TO s", "SET CONSTRAINTS ALL IMMEDIATE", MANY, "COMMIT"];
    truncate_with_a_record_that_is_rolled_back: Owner, ["BEGIN", "TRUNCATE entry", "SAVEPOINT s", RECORD, "SET CONSTRAINTS ALL IMMEDIATE", "ROLLBACK TO s", "COMMIT"];
    replica_role: Superuser, ["SET session_replication_role = replica", "INSERT INTO entry VALUES (3, 30)"];
    replica_role_and_truncate: Superuser, ["SET session_replication_role = replica", "TRUNCATE entry"];
    many_rows: App, [MANY];
    many_rows_copied_and_then_deleted: App, ["BEGIN", MANY, "DELETE FROM entry WHERE id > 100", "DELETE FROM entry WHERE id = 2", "COMMIT"];
    many_rows_after_a_rolled_back_record: App, ["BEGIN", MANY, "SAVEPOINT s", RECORD, "ROLLBACK TO s", "COMMIT"];
    many_rows_after_many_rolled_back_rows: App, ["BEGIN", "SAVEPOINT s", MANY, "ROLLBACK TO s", MANY, "COMMIT"];
    many_rows_in_a_released_savepoint: App, ["BEGIN", "SAVEPOINT s", MANY, "RELEASE s", "UPDATE entry SET amount = 0", "COMMIT"];
    many_rows_as_a_replica: Superuser, ["SET session_replication_role = replica", MANY];
}

#[tokio::test]
async fn prepared_transaction() {
    let guarded = Guarded::new().await;
    let name = uuid::Uuid::now_v7().simple().to_string();
    let prepare = format!("PREPARE TRANSACTION '{name}'");
    let commit = format!("COMMIT PREPARED '{name}'");
    let steps = [
        "BEGIN",
        "INSERT INTO entry VALUES (3, 30)",
        &prepare,
        &commit,
    ];
    guarded.refuses(App, &steps).await;
}

#[tokio::test]
async fn truncate_of_a_partition_attached_later() {
    // TRUNCATE triggers are not inherited. The application lacks the privilege to TRUNCATE, the
    // check finds the partition, and guard() repairs it.
    let guarded = Guarded::new().await;
    let refused = guarded.attempt(App, &["TRUNCATE measure_2"]).await;
    assert_eq!(refused.as_deref(), Some("42501"));
    let report = platform_audit::Audit::builder(guarded.owner_pool().await, "ledger")
        .app_role(&guarded.app)
        .check()
        .await
        .unwrap();
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|it| it.object.as_str())
        .collect();
    assert_eq!(found, ["public.measure_2", "public.measure_3"], "{report}");
    guarded
        .accepts(Owner, &["SELECT ledger_audit.guard('measure')"])
        .await;
    let fill = [
        "BEGIN",
        RECORD,
        "INSERT INTO measure VALUES (11, 1)",
        "COMMIT",
    ];
    guarded.accepts(Owner, &fill).await;
    guarded.refuses(Owner, &["TRUNCATE measure_2"]).await;
}
