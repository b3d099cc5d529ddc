//! The check reports each problem alone, and its remedy repairs it.

use platform_audit::check::{FindingKind, Report};
use platform_audit::{Audit, Error};
use sqlx::PgPool;

use super::{Guarded, RECORD};

/// A database without findings.
pub(super) async fn clean() -> Guarded {
    let guarded = Guarded::new().await;
    // Adds TRUNCATE triggers to the partitions that were attached after guard().
    guarded
        .as_superuser("SELECT ledger_audit.guard('measure')")
        .await;
    let report = check(&guarded).await;
    assert!(report.is_clean(), "{report}");
    guarded
}

pub(super) async fn check(guarded: &Guarded) -> Report {
    Audit::builder(guarded.owner_pool().await, "ledger")
        .app_role(&guarded.app)
        .check()
        .await
        .unwrap()
}

pub(super) async fn start_as_app(guarded: &Guarded, development: bool) -> Result<(), Error> {
    let pool = PgPool::connect(&guarded.database.url_as(&guarded.app)).await;
    Audit::builder(pool.unwrap(), "ledger")
        .development(development)
        .start()
        .await
        .map(drop)
}

/// Asserts that `harm` causes exactly one finding, of `kind` at `object`; that a service does not
/// start with it, except in development; and that the remedy repairs it.
async fn finds(harm: &str, kind: FindingKind, object: &str) {
    let guarded = clean().await;
    let named = |text: &str| {
        text.replace("APP", &guarded.app)
            .replace("MINE", &guarded.owner)
    };
    // With a record, as DDL on a guarded table requires one.
    let recorded = |statements: &str| format!("{RECORD}; {statements}");
    guarded.as_superuser(&recorded(&named(harm))).await;
    let report = check(&guarded).await;
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|it| (it.kind, it.object.as_str()))
        .collect();
    assert_eq!(found, [(kind, named(object).as_str())], "{harm}: {report}");

    let refused = start_as_app(&guarded, false).await.unwrap_err();
    let Error::Unsafe(at_start) = &refused else {
        panic!("{harm}: {refused}");
    };
    assert_eq!(at_start.findings, report.findings, "{harm}");
    let text = refused.to_string();
    assert!(text.contains(&report.findings[0].message), "{text}");
    assert!(text.contains(&report.findings[0].remedy), "{text}");
    start_as_app(&guarded, true).await.expect(harm);

    // The second of two alternative remedies.
    let or = format!("if no administrator needs {}: ", guarded.app);
    let remedy = report.findings[0].remedy.rsplit(&or).next().unwrap();
    let remedy = remedy.replace("the_owner_role", &guarded.owner);
    guarded.as_superuser(&recorded(&remedy)).await;
    let report = check(&guarded).await;
    assert!(
        report.is_clean(),
        "`{remedy}` does not repair {harm}: {report}"
    );
    start_as_app(&guarded, false).await.expect(&remedy);
}

macro_rules! found {
    ($($name:ident: $harm:literal => $kind:ident at $object:literal;)*) => {$(
        #[tokio::test]
        async fn $name() {
            finds($harm, FindingKind::$kind, $object).await;
        }
    )*};
}

found! {
    missing_trigger: "DROP TRIGGER ledger_audit_guard ON entry" => GuardMissing at "public.entry";
    missing_truncate_trigger: "DROP TRIGGER ledger_audit_guard_truncate ON entry" => GuardMissing at "public.entry";
    missing_truncate_trigger_of_a_partition: "DROP TRIGGER ledger_audit_guard_truncate ON measure_2" => GuardMissing at "public.measure_2";
    trigger_with_another_definition: "DROP TRIGGER ledger_audit_guard ON entry; CREATE CONSTRAINT TRIGGER ledger_audit_guard AFTER INSERT OR UPDATE OR DELETE ON entry DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (false) EXECUTE FUNCTION ledger_audit.require_record(); ALTER TABLE entry ENABLE ALWAYS TRIGGER ledger_audit_guard" => GuardMissing at "public.entry";
    disabled_trigger: "ALTER TABLE entry DISABLE TRIGGER ledger_audit_guard" => GuardDisabled at "public.entry";
    disabled_trigger_of_a_partition: "ALTER TABLE measure_1 DISABLE TRIGGER ledger_audit_guard" => GuardDisabled at "public.measure_1";
    trigger_that_is_not_enabled_always: "ALTER TABLE entry ENABLE TRIGGER ledger_audit_guard" => GuardNotAlways at "public.entry";
    trigger_that_fires_only_on_replicas: "ALTER TABLE entry ENABLE REPLICA TRIGGER ledger_audit_guard" => GuardNotAlways at "public.entry";
    unguarded_table: "CREATE TABLE another (id int); ALTER TABLE another OWNER TO MINE" => TableUnguarded at "public.another";
    unguarded_inheriting_table_in_another_schema: "CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.heir () INHERITS (entry); ALTER SCHEMA elsewhere OWNER TO MINE; ALTER TABLE elsewhere.heir OWNER TO MINE" => TableUnguarded at "elsewhere.heir";
    unguarded_table_whose_name_is_sql: "CREATE TABLE \"');SELECT ledger_audit.unguard('entry','x')--\" (id int); ALTER TABLE \"');SELECT ledger_audit.unguard('entry','x')--\" OWNER TO MINE" => TableUnguarded at "public.\"');SELECT ledger_audit.unguard('entry','x')--\"";
    unguarded_table_whose_name_has_an_apostrophe: "CREATE TABLE \"o'brien\" (id int); ALTER TABLE \"o'brien\" OWNER TO MINE" => TableUnguarded at "public.\"o'brien\"";
    unguarded_partitioned_table: "CREATE TABLE another (id int) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF another DEFAULT; ALTER TABLE another OWNER TO MINE; ALTER TABLE part OWNER TO MINE" => TableUnguarded at "public.another";
    detached_partition: "ALTER TABLE measure DETACH PARTITION measure_3; DROP TRIGGER ledger_audit_guard_truncate ON measure_3" => TableUnguarded at "public.measure_3";
    renamed_exempt_table: "ALTER TABLE parent RENAME TO elder" => TableUnguarded at "public.elder";
    obligation_without_its_trigger: "DROP TRIGGER pending_check_requires_record ON ledger_audit.pending_check" => SchemaDiffers at "ledger_audit.pending_check.pending_check_requires_record";
    obligation_with_its_trigger_disabled: "ALTER TABLE ledger_audit.pending_check DISABLE TRIGGER pending_check_requires_record" => SchemaDiffers at "ledger_audit.pending_check.pending_check_requires_record";
    app_superuser: "ALTER ROLE APP SUPERUSER" => AppSuperuser at "APP";
    app_member_of_a_superuser: "GRANT postgres TO APP" => AppSuperuser at "APP";
    app_may_write_files: "GRANT pg_write_server_files TO APP" => AppPrivileged at "APP";
    app_owns_a_table: "ALTER TABLE entry OWNER TO APP" => AppOwnsTable at "public.entry";
    app_owns_the_guards_function: "ALTER FUNCTION ledger_audit.require_record() OWNER TO APP" => AppOwnsSchema at "ledger_audit";
    app_owns_the_audit_schema: "ALTER SCHEMA ledger_audit OWNER TO APP; GRANT USAGE ON SCHEMA ledger_audit TO MINE" => AppOwnsSchema at "ledger_audit";
    app_owns_the_schema_of_its_tables: "ALTER SCHEMA public OWNER TO APP" => AppOwnsTablesSchema at "public";
    detached_partition_of_the_log: "ALTER TABLE ledger_audit.record DETACH PARTITION ledger_audit.record_default" => SchemaDiffers at "ledger_audit.record_default";
    app_owns_the_obligations: "ALTER TABLE ledger_audit.pending_check OWNER TO APP" => AppOwnsSchema at "ledger_audit";
    app_owns_the_sequence: "ALTER SEQUENCE ledger_audit.checked_transaction OWNER TO APP" => AppOwnsSchema at "ledger_audit";
    app_may_use_the_sequence: "GRANT USAGE ON SEQUENCE ledger_audit.checked_transaction TO APP" => PrivilegeUnexpected at "ledger_audit.checked_transaction";
    app_may_set_the_sequence: "GRANT UPDATE ON SEQUENCE ledger_audit.checked_transaction TO APP" => PrivilegeUnexpected at "ledger_audit.checked_transaction";
    app_may_create_triggers_on_obligations: "GRANT TRIGGER ON ledger_audit.pending_check TO APP" => PrivilegeUnexpected at "ledger_audit.pending_check";
    app_may_create_triggers_on_a_guarded_table: "GRANT TRIGGER ON entry TO APP" => TriggerGranted at "public.entry";
    app_may_truncate: "GRANT TRUNCATE ON entry TO APP" => TruncateGranted at "public.entry";
    app_may_set_the_replication_role: "GRANT SET ON PARAMETER session_replication_role TO APP" => ReplicationRoleGranted at "APP";
    app_may_update_records: "GRANT UPDATE (reason) ON ledger_audit.record TO APP" => PrivilegeUnexpected at "ledger_audit.record";
    app_may_delete_records: "GRANT DELETE ON ledger_audit.record TO APP" => PrivilegeUnexpected at "ledger_audit.record";
    app_may_set_the_transaction_of_a_record: "GRANT INSERT (xid) ON ledger_audit.record TO APP" => PrivilegeUnexpected at "ledger_audit.record";
    missing_append_only_trigger: "DROP TRIGGER record_no_truncate ON ledger_audit.record" => SchemaDiffers at "ledger_audit.record.record_no_truncate";
    missing_truncate_trigger_of_a_record_partition: "DROP TRIGGER record_no_truncate ON ledger_audit.record_default" => SchemaDiffers at "ledger_audit.record_default.record_no_truncate";
    disabled_append_only_trigger: "ALTER TABLE ledger_audit.record_default DISABLE TRIGGER record_append_only" => SchemaDiffers at "ledger_audit.record_default.record_append_only";
    trigger_of_one_column: "DROP TRIGGER ledger_audit_guard ON entry; CREATE CONSTRAINT TRIGGER ledger_audit_guard AFTER INSERT OR UPDATE OF amount OR DELETE ON entry DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_audit.require_record(); ALTER TABLE entry ENABLE ALWAYS TRIGGER ledger_audit_guard" => GuardMissing at "public.entry";
    truncate_trigger_that_never_fires: "DROP TRIGGER ledger_audit_guard_truncate ON entry; CREATE TRIGGER ledger_audit_guard_truncate AFTER TRUNCATE ON entry FOR EACH STATEMENT WHEN (false) EXECUTE FUNCTION ledger_audit.queue_truncate_check(); ALTER TABLE entry ENABLE ALWAYS TRIGGER ledger_audit_guard_truncate" => GuardMissing at "public.entry";
    table_that_no_migration_creates: "CREATE TABLE ledger_audit.extra (id int PRIMARY KEY)" => SchemaDiffers at "ledger_audit.extra";
    app_may_exempt_tables: "GRANT INSERT, UPDATE, DELETE ON ledger_audit.exemption TO APP" => PrivilegeUnexpected at "ledger_audit.exemption";
    app_may_create_functions_in_the_audit_schema: "GRANT CREATE ON SCHEMA ledger_audit TO APP" => PrivilegeUnexpected at "ledger_audit";
    public_may_write_records: "GRANT ALL ON ledger_audit.record TO PUBLIC" => PrivilegeUnexpected at "ledger_audit.record";
    app_may_replicate: "ALTER ROLE APP REPLICATION" => AppPrivileged at "APP";
    app_may_read_other_sessions: "GRANT pg_monitor TO APP" => AppPrivileged at "APP";
    app_may_read_everything: "GRANT pg_read_all_data TO APP" => AppPrivileged at "APP";
    asynchronous_commit: "ALTER ROLE APP SET synchronous_commit = off" => SettingUnsafe at "synchronous_commit";
    replica_role_set_for_the_app: "ALTER ROLE APP SET session_replication_role = replica" => SettingUnsafe at "session_replication_role";
}

/// A role with NOINHERIT has the privileges through SET ROLE.
#[tokio::test]
async fn privileges_that_the_app_has_only_through_set_role_are_found() {
    let mut guarded = clean().await;
    let group = guarded.database.role("group", "NOLOGIN").await;
    let app = guarded.app.clone();
    guarded
        .as_superuser(&format!(
            "ALTER ROLE {app} NOINHERIT; GRANT {group} TO {app};
             GRANT TRIGGER, TRUNCATE ON entry TO {group}; GRANT SET ON PARAMETER session_replication_role TO {group}"
        ))
        .await;
    let report = check(&guarded).await;
    let found: Vec<_> = report.findings.iter().map(|it| it.kind).collect();
    let expected = [
        FindingKind::ReplicationRoleGranted,
        FindingKind::TriggerGranted,
        FindingKind::TruncateGranted,
    ];
    assert_eq!(found, expected, "{report}");
    guarded
        .as_superuser(&format!(
            "REVOKE SET ON PARAMETER session_replication_role FROM {group}; REVOKE ALL ON entry FROM {group}"
        ))
        .await;
}

#[tokio::test]
async fn an_app_that_owns_the_database_is_found() {
    let guarded = clean().await;
    let url = guarded.database.url();
    let name = url.rsplit('/').next().unwrap();
    let name = name.split('?').next().unwrap();
    let owned = format!("ALTER DATABASE \"{name}\" OWNER TO {}", guarded.app);
    guarded.as_superuser(&owned).await;
    let report = check(&guarded).await;
    let found: Vec<_> = report.findings.iter().map(|it| it.kind).collect();
    // The database's owner is a member of pg_database_owner, which may own the schema public.
    assert!(found.contains(&FindingKind::AppOwnsDatabase), "{report}");
    let remedy = &report.findings[found
        .iter()
        .position(|it| *it == FindingKind::AppOwnsDatabase)
        .unwrap()]
    .remedy;
    guarded
        .as_superuser(&remedy.replace("the_owner_role", &guarded.owner))
        .await;
    let report = check(&guarded).await;
    assert!(report.is_clean(), "{report}");
}

/// Since Postgres 16, CREATEROLE alone is not enough: it needs ADMIN OPTION on the granted role.
#[tokio::test]
async fn an_app_that_can_grant_itself_the_owners_role_is_found() {
    let guarded = clean().await;
    guarded
        .as_superuser(&format!("ALTER ROLE {} CREATEROLE", guarded.app))
        .await;
    let pool = guarded.owner_pool().await;
    let version: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
        .fetch_one(&pool)
        .await
        .unwrap();
    let found: Vec<_> = check(&guarded)
        .await
        .findings
        .into_iter()
        .map(|it| it.kind)
        .collect();
    let expected: &[FindingKind] = if version < 160_000 {
        &[FindingKind::AppCreatesRoles]
    } else {
        &[]
    };
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_check_works_with_quote_all_identifiers() {
    let guarded = clean().await;
    let name = guarded
        .database
        .url()
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    let name = name.split('?').next().unwrap();
    guarded
        .as_superuser(&format!(
            "ALTER DATABASE \"{name}\" SET quote_all_identifiers = on"
        ))
        .await;
    let report = check(&guarded).await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn every_table_in_the_services_schemas_must_be_guarded_or_exempt() {
    let guarded = clean().await;
    guarded
        .as_superuser(
            "CREATE SCHEMA ledger; CREATE SCHEMA other; CREATE TABLE ledger.page (id int); CREATE TABLE other.page (id int);
             CREATE TABLE _sqlx_migrations (version int); CREATE VIEW seen AS SELECT 1 AS one; CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one; CREATE UNLOGGED TABLE loose (id int)",
        )
        .await;
    let objects = |report: Report| -> Vec<String> {
        report.findings.into_iter().map(|it| it.object).collect()
    };
    // The current schema, and the schema with the service's name.
    assert_eq!(
        objects(check(&guarded).await),
        ["ledger.page", "public.loose"]
    );
    let elsewhere = Audit::builder(guarded.owner_pool().await, "ledger")
        .app_role(&guarded.app)
        .tables_in(["other"])
        .check()
        .await
        .unwrap();
    assert_eq!(objects(elsewhere), ["other.page"]);
}

/// For example because the server's clock was ahead when it wrote one record.
#[tokio::test]
async fn a_month_in_the_default_partition_is_not_reported_as_missing() {
    let guarded = clean().await;
    let next: String = sqlx::query_scalar(
        "SELECT 'ledger_audit.record_' || to_char((now() AT TIME ZONE 'UTC') + interval '1 month', 'YYYY_MM')",
    )
    .fetch_one(&guarded.owner_pool().await)
    .await
    .unwrap();
    guarded
        .as_superuser(&format!(
            "ALTER TABLE ledger_audit.record DETACH PARTITION {next}; DROP TABLE {next}"
        ))
        .await;
    let report = check(&guarded).await;
    assert_eq!(report.findings[0].kind, FindingKind::PartitionMissing);
    guarded.as_superuser("INSERT INTO ledger_audit.record (id, recorded_at, occurred_at, service, actor_kind, actor_id, action, outcome)
        VALUES (gen_random_uuid(), date_trunc('month', now() AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC' + interval '1 hour', now(), 'ledger', 'user', 'ada', 'entry.create', 'success')").await;
    let report = check(&guarded).await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn tables_with_quoted_names_can_be_guarded() {
    let guarded = clean().await;
    guarded
        .as_superuser(
            "CREATE SCHEMA \"order\"; CREATE TABLE \"order\".\"Line_1\" (id int PRIMARY KEY)",
        )
        .await;
    let check = async || {
        let audit = Audit::builder(guarded.owner_pool().await, "ledger").app_role(&guarded.app);
        audit.tables_in(["public", "order"]).check().await.unwrap()
    };
    let report = check().await;
    assert_eq!(report.findings.len(), 1, "{report}");
    assert_eq!(report.findings[0].object, "\"order\".\"Line_1\"");
    guarded.as_superuser(&report.findings[0].remedy).await;
    assert!(check().await.is_clean());
    let named: String = sqlx::query_scalar(
        "SELECT resource_id FROM ledger_audit.record WHERE action = 'table.guard' ORDER BY recorded_at DESC LIMIT 1",
    )
    .fetch_one(&guarded.owner_pool().await)
    .await
    .unwrap();
    assert_eq!(named, "\"order\".\"Line_1\"");
}

#[tokio::test]
async fn tables_can_be_guarded_if_several_services_share_the_log() {
    let guarded = clean().await;
    Audit::builder(guarded.owner_pool().await, "billing")
        .schema("ledger_audit")
        .development(true)
        .start()
        .await
        .unwrap();
    let services: Vec<String> =
        sqlx::query_scalar("SELECT name FROM ledger_audit.service ORDER BY 1")
            .fetch_all(&guarded.owner_pool().await)
            .await
            .unwrap();
    assert_eq!(services, ["billing", "ledger"]);
    for statement in [
        "CREATE TABLE invoice (id int); SELECT ledger_audit.guard('invoice')",
        "SELECT ledger_audit.unguard('invoice', 'a test')",
        "SELECT ledger_audit.exempt('invoice', 'a test')",
    ] {
        guarded.as_superuser(statement).await;
    }
}

#[tokio::test]
async fn an_object_that_the_app_owns_does_not_hide_other_differences() {
    let guarded = clean().await;
    guarded
        .as_superuser(&format!(
            "ALTER SEQUENCE ledger_audit.checked_transaction OWNER TO {}; DROP TRIGGER pending_check_requires_record ON ledger_audit.pending_check",
            guarded.app
        ))
        .await;
    let report = check(&guarded).await;
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|it| (it.kind, it.object.as_str()))
        .collect();
    let expected = [
        (FindingKind::AppOwnsSchema, "ledger_audit"),
        (
            FindingKind::SchemaDiffers,
            "ledger_audit.pending_check.pending_check_requires_record",
        ),
    ];
    assert_eq!(found, expected, "{report}");
}
