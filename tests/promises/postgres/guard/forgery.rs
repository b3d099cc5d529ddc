//! Deliberate attacks by the application's role with arbitrary SQL.

use sqlx::{Connection, PgConnection, Row};

use super::Who::{App, Owner, Superuser};
use super::{Guarded, RECORD, refusal, run};

const CHANGE: &str = "INSERT INTO entry VALUES (3, 30)";
const MANY: &str = "INSERT INTO entry SELECT i, i FROM generate_series(100, 30000) AS i";
const FORGE: &str = "SET platform_audit.obliged = 'on'; SET platform_audit.transaction = '01a207a5-9697-75ae-abc0-3ec73dba4e71'";
const SHADOWED: &str = "SET search_path = pg_temp, public, pg_catalog";

macro_rules! refused {
    ($($name:ident: [$($step:expr),* $(,)?];)*) => {$(
        #[tokio::test]
        async fn $name() {
            Guarded::new().await.refuses(App, &[$($step),*]).await;
        }
    )*};
}

refused! {
    settings_forged_after_many_rows_were_rolled_back: ["BEGIN", "SAVEPOINT s", MANY, "ROLLBACK TO s", "SET LOCAL platform_audit.obliged = 'on'", MANY, "COMMIT"];
    settings_forged_after_a_record_was_rolled_back: ["BEGIN", "SAVEPOINT s", MANY, RECORD, "ROLLBACK TO s", "SET LOCAL platform_audit.obliged = 'on'", MANY, "COMMIT"];
    operators_and_functions_shadowed: [
        "CREATE TEMP TABLE x (); CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''infinity''::timestamptz'",
        "CREATE FUNCTION pg_temp.always(timestamptz, timestamptz) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        SHADOWED, CHANGE];
    // The CHECK of a domain would run with the owner's privileges.
    text_shadowed: ["CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (false)", SHADOWED, MANY];
    regclass_shadowed: ["CREATE DOMAIN pg_temp.regclass AS pg_catalog.regclass CHECK (false)", SHADOWED, MANY];
}

/// The guard uses this type only while it looks for the record, so the transaction has one.
#[tokio::test]
async fn xid_shadowed() {
    let domain = "CREATE DOMAIN pg_temp.xid AS pg_catalog.xid CHECK (false)";
    let steps = [domain, SHADOWED, "BEGIN", CHANGE, RECORD, "COMMIT"];
    let refused = Guarded::new().await.attempt(App, &steps).await;
    assert_eq!(refused, None, "the domain's CHECK ran");
}

#[tokio::test]
async fn settings_forged() {
    let guarded = Guarded::new().await;
    let before = guarded.content().await;
    let refused = guarded.attempt(App, &[FORGE, CHANGE]).await;
    assert_eq!(refused.as_deref(), Some("AU002"));
    assert_eq!(guarded.content().await, before);
}

#[tokio::test]
async fn settings_forged_after_an_audited_transaction() {
    let guarded = Guarded::new().await;
    let mut connection = guarded.connect(App).await;
    for step in [
        "BEGIN",
        MANY,
        RECORD,
        "COMMIT",
        "SET platform_audit.obliged = 'on'",
    ] {
        run(&mut connection, step).await.expect(step);
    }
    for change in [
        "UPDATE entry SET amount = 1",
        "DELETE FROM entry WHERE id = 1",
    ] {
        assert_eq!(refusal(&mut connection, change).await, "AU002", "{change}");
    }
}

#[tokio::test]
async fn many_rows_after_a_prepared_transaction_of_the_same_session() {
    let guarded = Guarded::new().await;
    let name = uuid::Uuid::now_v7().simple().to_string();
    let prepare = format!("PREPARE TRANSACTION '{name}'");
    let mut connection = guarded.connect(App).await;
    // The prepared transaction is still in progress while the next one runs.
    for step in ["BEGIN", MANY, RECORD, &prepare] {
        run(&mut connection, step).await.expect(step);
    }
    run(&mut connection, "SET platform_audit.obliged = 'on'")
        .await
        .unwrap();
    let many = "INSERT INTO entry SELECT i, i FROM generate_series(40000, 80000) AS i";
    // Otherwise the prepared transaction would outlive the test and block others.
    let refused = refusal(&mut connection, many).await;
    run(&mut connection, &format!("COMMIT PREPARED '{name}'"))
        .await
        .unwrap();
    assert_eq!(refused, "AU002");
}

/// An immediate check that succeeds leaves nothing that satisfies the checks of later rows.
#[tokio::test]
async fn many_rows_after_an_immediate_check_and_a_prepared_transaction() {
    let guarded = Guarded::new().await;
    let name = uuid::Uuid::now_v7().simple().to_string();
    let prepare = format!("PREPARE TRANSACTION '{name}'");
    let mut connection = guarded.connect(App).await;
    for step in [
        "BEGIN",
        RECORD,
        "SET CONSTRAINTS ALL IMMEDIATE",
        MANY,
        &prepare,
        "SET platform_audit.obliged = 'on'",
    ] {
        run(&mut connection, step).await.expect(step);
    }
    let update = "UPDATE entry SET amount = 0";
    let refused = refusal(&mut connection, update).await;
    run(&mut connection, &format!("COMMIT PREPARED '{name}'"))
        .await
        .unwrap();
    assert_eq!(refused, "AU002");
}

/// As with a record restored from a dump, half of the transaction id space ago.
#[tokio::test]
async fn a_record_whose_transaction_id_seems_to_be_in_the_future() {
    let guarded = Guarded::new().await;
    let mut connection = guarded.connect(App).await;
    run(&mut connection, "BEGIN").await.unwrap();
    run(&mut connection, CHANGE).await.unwrap();
    let xid: String = sqlx::query("SELECT pg_current_xact_id()::text")
        .fetch_one(&mut connection)
        .await
        .unwrap()
        .get(0);
    guarded
        .as_superuser(&format!(
            "INSERT INTO ledger_audit.record (id, xid, occurred_at, service, actor_kind, actor_id, action, outcome)
             VALUES (gen_random_uuid(), '{xid}', now(), 'ledger', 'user', 'ada', 'entry.create', 'success')"
        ))
        .await;
    assert_eq!(refusal(&mut connection, "COMMIT").await, "AU002");
}

/// Fills the log with records that contain the id of a future transaction, as a dump of a server
/// with higher transaction ids would. Their time is forged, too.
async fn restore_records_of_the_future(guarded: &Guarded) {
    guarded
        .as_superuser(
            "INSERT INTO ledger_audit.record (id, xid, recorded_at, occurred_at, service, actor_kind, actor_id, action, outcome)
             SELECT gen_random_uuid(), (pg_current_xact_id()::text::bigint + i)::text::xid8, now() + interval '1 hour', now(), 'ledger', 'user', 'ada', 'entry.create', 'success'
             FROM generate_series(1, 20000) AS i",
        )
        .await;
}

async fn change_with_an_old_record(connection: &mut PgConnection) -> sqlx::Result<()> {
    run(connection, "BEGIN").await?;
    run(connection, CHANGE).await?;
    let there: i64 =
        sqlx::query("SELECT count(*) FROM ledger_audit.record WHERE xid = pg_current_xact_id()")
            .fetch_one(&mut *connection)
            .await?
            .get(0);
    assert_eq!(there, 1, "no old record contains this transaction's id");
    run(connection, "COMMIT").await
}

#[tokio::test]
async fn an_old_record_with_the_id_of_a_new_transaction() {
    let guarded = Guarded::new().await;
    restore_records_of_the_future(&guarded).await;
    let mut connection = guarded.connect(App).await;
    let refused = change_with_an_old_record(&mut connection)
        .await
        .unwrap_err();
    assert_eq!(
        refused.as_database_error().unwrap().code().as_deref(),
        Some("AU002")
    );
    connection.close().await.unwrap();

    // A guard that compared only the id would have accepted it.
    guarded
        .as_superuser(
            "CREATE OR REPLACE FUNCTION ledger_audit.require_record() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
             'BEGIN IF NOT EXISTS (SELECT FROM ledger_audit.record WHERE xid = pg_current_xact_id()) THEN RAISE ''none''; END IF; RETURN NULL; END'",
        )
        .await;
    let mut connection = guarded.connect(App).await;
    change_with_an_old_record(&mut connection).await.unwrap();
}

#[tokio::test]
async fn the_application_cannot_change_the_guard_or_its_state() {
    let guarded = Guarded::new().await;
    for statement in [
        "SELECT setval('ledger_audit.checked_transaction', 1)",
        "SELECT nextval('ledger_audit.checked_transaction')",
        "SELECT last_value FROM ledger_audit.checked_transaction",
        "SELECT ledger_audit.require_record_in_log(1)",
        "SELECT ledger_audit.guard('entry')",
        "SELECT ledger_audit.unguard('entry', 'please')",
        "SELECT ledger_audit.exempt('entry', 'please')",
        "INSERT INTO ledger_audit.exemption (relation, reason) VALUES ('public.entry', 'please')",
        "INSERT INTO ledger_audit.pending_check VALUES (1)",
        "DELETE FROM ledger_audit.pending_check",
        "UPDATE ledger_audit.record SET actor_id = 'eve'",
        "DELETE FROM ledger_audit.record",
        "TRUNCATE ledger_audit.record",
        "INSERT INTO ledger_audit.record (id, xid, occurred_at, service, actor_kind, actor_id, action, outcome) VALUES (gen_random_uuid(), '1', now(), 'ledger', 'user', 'ada', 'entry.create', 'success')",
        "INSERT INTO ledger_audit.record (id, recorded_at, occurred_at, service, actor_kind, actor_id, action, outcome) VALUES (gen_random_uuid(), now(), now(), 'ledger', 'user', 'ada', 'entry.create', 'success')",
        "ALTER TABLE entry DISABLE TRIGGER ALL",
        "DROP TRIGGER ledger_audit_guard ON entry",
        "TRUNCATE entry",
        "SET session_replication_role = replica",
        "CREATE TEMP TABLE mine (relation oid); CREATE TRIGGER t AFTER INSERT ON mine EXECUTE FUNCTION ledger_audit.queue_truncate_check()",
        "CREATE OR REPLACE FUNCTION ledger_audit.require_record_in_log(relation oid) RETURNS void LANGUAGE sql AS ''",
    ] {
        let refused = guarded.attempt(App, &[statement]).await;
        assert_eq!(refused.as_deref(), Some("42501"), "{statement}");
    }
}

#[tokio::test]
async fn a_guard_cannot_be_removed_during_a_change() {
    let guarded = Guarded::new().await;
    for removal in [
        "ALTER TABLE entry DISABLE TRIGGER ledger_audit_guard",
        "ALTER TABLE entry DISABLE TRIGGER ALL",
        "DROP TABLE entry",
        "TRUNCATE entry",
    ] {
        for who in [Owner, Superuser] {
            let refused = guarded
                .attempt(who, &["BEGIN", CHANGE, removal, "COMMIT"])
                .await;
            // object_in_use: the deferred check is pending.
            assert_eq!(refused.as_deref(), Some("55006"), "{who:?}: {removal}");
        }
    }
}

/// A dump restores the values of sequences, and the new server may reuse transaction ids.
#[tokio::test]
async fn the_cached_check_result_of_another_server_is_ignored() {
    let guarded = Guarded::new().await;
    let committed = async |value: &str| {
        let mut connection = guarded.connect(App).await;
        // With immediate constraints, the checks of many rows run at the end of their statement.
        for step in ["BEGIN", "SET CONSTRAINTS ALL IMMEDIATE"] {
            run(&mut connection, step).await.unwrap();
        }
        let xid: i64 = sqlx::query_scalar("SELECT txid_current()")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let restored = value.replace("XID", &xid.to_string());
        guarded
            .as_superuser(&format!(
                "SELECT setval('ledger_audit.checked_transaction', {restored})"
            ))
            .await;
        let changed = run(&mut connection, MANY).await;
        let changed = changed.map_err(|error| error.into_database_error().unwrap());
        changed
            .err()
            .map(|error| error.code().unwrap().into_owned())
    };
    for restored in ["XID", "timestamp_hash_extended('2020-01-01', XID)"] {
        assert_eq!(committed(restored).await.as_deref(), Some("AU002"));
    }
    // The check accepts the value that it would have written itself.
    let own = "timestamp_hash_extended(pg_postmaster_start_time()::timestamp, XID)";
    assert_eq!(committed(own).await, None);
}

/// A service inserts records through a view without the columns of the transaction and the time.
#[tokio::test]
async fn records_can_be_written_only_through_the_view() {
    let guarded = Guarded::new().await;
    let columns = "id, occurred_at, service, actor_kind, actor_id, action, outcome";
    let values = "gen_random_uuid(), now(), 'ledger', 'user', 'ada', 'entry.create', 'success'";
    let view = "ledger_audit.record_insert";
    let month = "ledger_audit.record_default";
    for (statement, expected) in [
        (
            format!("INSERT INTO ledger_audit.record ({columns}) VALUES ({values})"),
            "42501",
        ),
        (
            format!("INSERT INTO ledger_audit.records ({columns}) VALUES ({values})"),
            "42501",
        ),
        (
            format!("INSERT INTO {month} ({columns}) VALUES ({values})"),
            "42501",
        ),
        (
            format!("INSERT INTO {view} (xid, {columns}) VALUES ('1', {values})"),
            "42703",
        ),
        (
            format!("INSERT INTO {view} (recorded_at, {columns}) VALUES (now(), {values})"),
            "42703",
        ),
        (
            format!("INSERT INTO {view} ({columns}) VALUES ({values}) RETURNING id"),
            "42501",
        ),
        (
            format!(
                "INSERT INTO {view} ({columns}) VALUES ({values}) ON CONFLICT (id) DO UPDATE SET actor_id = 'eve'"
            ),
            "42501",
        ),
        (format!("UPDATE {view} SET actor_id = 'eve'"), "42501"),
        (format!("DELETE FROM {view}"), "42501"),
        (format!("SELECT FROM {view} FOR UPDATE"), "42501"),
        (
            format!("ALTER VIEW {view} ALTER COLUMN actor_id SET DEFAULT 'eve'"),
            "42501",
        ),
        (
            format!("ALTER VIEW {view} SET (security_invoker = on)"),
            "42501",
        ),
        (
            format!("CREATE RULE it AS ON INSERT TO {view} DO INSTEAD NOTHING"),
            "42501",
        ),
    ] {
        let refused = guarded.attempt(App, &[&statement]).await;
        assert_eq!(refused.as_deref(), Some(expected), "{statement}");
    }
    let mut connection = guarded.connect(App).await;
    run(&mut connection, "BEGIN").await.unwrap();
    let write = format!("INSERT INTO {view} ({columns}) VALUES ({values})");
    run(&mut connection, &write).await.unwrap();
    let written: bool = sqlx::query_scalar(
        "SELECT xid = pg_current_xact_id() AND recorded_at BETWEEN now() AND clock_timestamp() FROM ledger_audit.record WHERE action = 'entry.create'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert!(
        written,
        "the transaction and the time are the database's word"
    );
}
