//! Changes that the guard accepts.

use super::Who::{App, Owner};
use super::{Guarded, RECORD};

const CHANGE: &str = "INSERT INTO entry VALUES (3, 30)";
const ANOTHER: &str = "UPDATE entry SET amount = amount + 1";
const MANY: &str = "INSERT INTO entry SELECT i, i FROM generate_series(100, 30000) AS i";

/// One test per case, as the application.
macro_rules! accepted {
    ($($name:ident: [$($step:expr),* $(,)?];)*) => {$(
        #[tokio::test]
        async fn $name() {
            let guarded = Guarded::new().await;
            let before = guarded.content().await;
            guarded.accepts(App, &[$($step),*]).await;
            assert_ne!(guarded.content().await, before, "nothing was changed");
        }
    )*};
}

accepted! {
    record_last: ["BEGIN", CHANGE, ANOTHER, RECORD, "COMMIT"];
    record_first: ["BEGIN", RECORD, CHANGE, ANOTHER, "COMMIT"];
    record_in_the_middle: ["BEGIN", CHANGE, RECORD, ANOTHER, "COMMIT"];
    several_records: ["BEGIN", RECORD, CHANGE, RECORD, ANOTHER, RECORD, "COMMIT"];
    record_in_a_released_savepoint: ["BEGIN", CHANGE, "SAVEPOINT s", RECORD, "RELEASE s", "COMMIT"];
    second_record_rolled_back_with_a_savepoint: ["BEGIN", CHANGE, RECORD, "SAVEPOINT s", RECORD, "ROLLBACK TO s", "COMMIT"];
    record_and_change_in_one_statement: ["WITH recorded AS (SELECT ledger_audit.write_record(actor => 'ada', action => 'entry.repair', reason => 'a test') AS id) INSERT INTO entry SELECT 3, 30 FROM recorded"];
    record_written_by_hand: ["BEGIN", CHANGE, "INSERT INTO ledger_audit.record_insert (id, occurred_at, service, actor_kind, actor_id, action, outcome) VALUES (gen_random_uuid(), now(), 'ledger', 'user', 'ada', 'entry.create', 'success')", "COMMIT"];
    constraints_immediate_after_the_record: ["BEGIN", RECORD, "SET CONSTRAINTS ALL IMMEDIATE", CHANGE, ANOTHER, "COMMIT"];
    many_rows_with_one_record: ["BEGIN", MANY, ANOTHER, "DELETE FROM entry WHERE id > 200", RECORD, "COMMIT"];
    many_rows_in_savepoints: ["BEGIN", "SAVEPOINT s", MANY, "ROLLBACK TO s", MANY, "SAVEPOINT t", "DELETE FROM entry WHERE id > 200", "RELEASE t", RECORD, "COMMIT"];
    many_rows_with_a_record_in_a_released_savepoint: ["BEGIN", MANY, "SAVEPOINT s", RECORD, "RELEASE s", ANOTHER, "COMMIT"];
    many_rows_with_immediate_constraints_after_the_record: ["BEGIN", RECORD, "SET CONSTRAINTS ALL IMMEDIATE", MANY, ANOTHER, "COMMIT"];
    many_rows_after_discard_sequences: ["BEGIN", MANY, "DISCARD SEQUENCES", ANOTHER, RECORD, "COMMIT"];
    leftover_settings_of_another_session: ["SET platform_audit.obliged = 'on'; SET platform_audit.slow = 'on'; SET platform_audit.met = 'on'; SET platform_audit.transaction = 'on'", "BEGIN", MANY, ANOTHER, RECORD, "COMMIT"];
    cascade_with_a_record: ["BEGIN", "DELETE FROM parent WHERE id = 1", RECORD, "COMMIT"];
    partitions_with_a_record: ["BEGIN", "INSERT INTO measure VALUES (1, 7), (11, 7), (21, 7)", RECORD, "COMMIT"];
}

#[tokio::test]
async fn statements_that_change_no_rows_need_no_record() {
    let guarded = Guarded::new().await;
    for nothing in [
        "UPDATE entry SET amount = 0 WHERE false",
        "DELETE FROM entry WHERE id = 77",
        "INSERT INTO entry SELECT 5, 5 WHERE false",
        "INSERT INTO entry VALUES (1, 1) ON CONFLICT DO NOTHING",
        "SELECT * FROM entry FOR UPDATE",
    ] {
        guarded.accepts(App, &[nothing]).await;
    }
}

#[tokio::test]
async fn a_rolled_back_change_needs_no_record() {
    let guarded = Guarded::new().await;
    let before = guarded.content().await;
    guarded.accepts(App, &["BEGIN", CHANGE, "ROLLBACK"]).await;
    let in_part = [
        "BEGIN",
        "SAVEPOINT s",
        CHANGE,
        MANY,
        "ROLLBACK TO s",
        "COMMIT",
    ];
    guarded.accepts(App, &in_part).await;
    guarded
        .accepts(Owner, &["BEGIN", "TRUNCATE entry", "ROLLBACK"])
        .await;
    assert_eq!(guarded.content().await, before);
}

#[tokio::test]
async fn a_prepared_transaction_with_its_record_is_accepted() {
    let guarded = Guarded::new().await;
    let name = uuid::Uuid::now_v7().simple().to_string();
    let prepare = format!("PREPARE TRANSACTION '{name}'");
    let commit = format!("COMMIT PREPARED '{name}'");
    guarded
        .accepts(App, &["BEGIN", CHANGE, RECORD, &prepare, &commit])
        .await;
}

#[tokio::test]
async fn exempting_and_unguarding_a_table_is_recorded_with_user_time_and_reason() {
    let guarded = Guarded::new().await;
    guarded
        .accepts(App, &["INSERT INTO parent VALUES (8)"])
        .await;
    guarded
        .accepts(
            Owner,
            &["SELECT ledger_audit.unguard('entry', 'a repair by hand')"],
        )
        .await;
    guarded.accepts(App, &[CHANGE]).await;
    let mut connection = guarded.connect(Owner).await;
    let rows: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT action, resource_id, reason, details ->> 'database_user' FROM ledger_audit.record WHERE action IN ('table.exempt', 'table.unguard') ORDER BY recorded_at",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let rows: Vec<_> = rows
        .iter()
        .map(|(a, b, c, d)| (a.as_str(), b.as_str(), c.as_str(), d.as_str()))
        .collect();
    assert_eq!(
        rows,
        [
            ("table.exempt", "public.parent", "holds nothing", "postgres"),
            (
                "table.unguard",
                "public.entry",
                "a repair by hand",
                "postgres"
            ),
        ]
    );
    let exempt: Vec<(String, String, String, bool)> = sqlx::query_as(
        "SELECT relation, reason, exempted_by, exempted_at <= clock_timestamp() FROM ledger_audit.exemption",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(
        exempt,
        [(
            "public.parent".to_owned(),
            "holds nothing".to_owned(),
            "postgres".to_owned(),
            true
        )]
    );
}

#[tokio::test]
async fn guarding_again_is_idempotent_and_repairs_missing_triggers() {
    let guarded = Guarded::new().await;
    let records = async || -> i64 {
        let mut connection = guarded.connect(Owner).await;
        sqlx::query_scalar("SELECT count(*) FROM ledger_audit.record")
            .fetch_one(&mut connection)
            .await
            .unwrap()
    };
    let before = records().await;
    for again in [
        "SELECT ledger_audit.guard('entry')",
        "SELECT ledger_audit.exempt('parent', 'holds nothing')",
    ] {
        guarded.accepts(Owner, &[again]).await;
    }
    assert_eq!(records().await, before);
    guarded
        .as_superuser(&format!(
            "{RECORD}; DROP TRIGGER ledger_audit_guard ON entry"
        ))
        .await;
    guarded
        .accepts(App, &["DELETE FROM entry WHERE id = 2"])
        .await;
    guarded
        .accepts(Owner, &["SELECT ledger_audit.guard('entry')"])
        .await;
    guarded.refuses(App, &[CHANGE]).await;
}

#[tokio::test]
async fn unguard_and_exempt_require_a_reason() {
    let guarded = Guarded::new().await;
    for statement in [
        "SELECT ledger_audit.unguard('entry', ' ')",
        "SELECT ledger_audit.exempt('entry', NULL)",
    ] {
        let refused = guarded.attempt(Owner, &[statement]).await;
        assert_eq!(refused.as_deref(), Some("22023"), "{statement}");
    }
    for statement in [
        "SELECT ledger_audit.guard('ledger_audit.record')",
        "SELECT ledger_audit.guard('ledger_audit.records')",
    ] {
        let refused = guarded.attempt(Owner, &[statement]).await;
        assert_eq!(refused.as_deref(), Some("42809"), "{statement}");
    }
    guarded.refuses(App, &[CHANGE]).await;
}
