//! DDL on guarded tables that changes their rows.

use super::Who::{App, Owner, Superuser};
use super::{Guarded, RECORD, Who};

/// Asserts that `steps` are refused at COMMIT without a record, and accepted with one; and that
/// they are accepted without the event triggers.
async fn refused(who: Who, steps: &str) {
    let code = |refused: Result<(), sqlx::Error>| {
        let refused = refused.err().map(|it| it.into_database_error().unwrap());
        refused.and_then(|it| it.code().map(std::borrow::Cow::into_owned))
    };
    let guarded = Guarded::new().await;
    guarded.as_superuser(MORE).await;
    let before = guarded.content().await;
    let mut connection = guarded.connect(who).await;
    let done = super::run(&mut connection, steps).await;
    assert_eq!(code(done).as_deref(), Some("AU002"), "{steps}");
    assert_eq!(guarded.content().await, before, "{steps}");
    let mut connection = guarded.connect(who).await;
    let with_record = format!("BEGIN; {RECORD}; {steps}; COMMIT");
    let done = super::run(&mut connection, &with_record).await;
    assert_eq!(code(done), None, "{steps}");

    let bare = Guarded::new().await;
    bare.as_superuser(MORE).await;
    bare.as_superuser("ALTER EVENT TRIGGER ledger_audit_ddl DISABLE; ALTER EVENT TRIGGER ledger_audit_drop DISABLE")
        .await;
    let mut connection = bare.connect(who).await;
    let done = super::run(&mut connection, steps).await;
    assert_eq!(
        code(done),
        None,
        "refused without the event triggers: {steps}"
    );
}

/// The objects that the statements below need.
const MORE: &str = "
    CREATE TYPE mood AS ENUM ('well', 'ill');
    CREATE TYPE visit AS (day int, mood mood);
    CREATE DOMAIN visits AS visit[];
    CREATE TABLE patient (id bigint, mood mood);
    CREATE TABLE chart (visits visits);
    CREATE TABLE forebear (id bigint);
    CREATE TABLE heir () INHERITS (forebear);
    CREATE TABLE measure_4 (day int NOT NULL, amount bigint NOT NULL);
    INSERT INTO measure_4 VALUES (30, 1);
    SELECT ledger_audit.guard(it) FROM unnest(ARRAY['patient', 'heir', 'chart']::regclass[]) AS it;
    DO $$ DECLARE it text; BEGIN
        FOREACH it IN ARRAY ARRAY['patient', 'chart', 'forebear', 'heir', 'measure_4', 'entry', 'measure', 'measure_2'] LOOP
            EXECUTE format('ALTER TABLE %I OWNER TO %s', it, (SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'ledger_audit'));
        END LOOP;
        EXECUTE format('ALTER TYPE visit OWNER TO %s', (SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'ledger_audit'));
        EXECUTE format('ALTER TYPE mood OWNER TO %s', (SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'ledger_audit'));
        PERFORM ledger_audit.write_record(actor => 'ada', action => 'entry.repair', reason => 'a test');
    END $$;
";

macro_rules! refused {
    ($($name:ident: $who:expr, $steps:literal;)*) => {$(
        #[tokio::test]
        async fn $name() {
            refused($who, $steps).await;
        }
    )*};
}

refused! {
    a_column_type_changed: Owner, "ALTER TABLE entry ALTER COLUMN amount TYPE bigint USING 0";
    a_column_dropped: Owner, "ALTER TABLE entry DROP COLUMN amount";
    a_column_dropped_with_its_type: Owner, "DROP TYPE mood CASCADE";
    an_enum_value_renamed: Owner, "ALTER TYPE mood RENAME VALUE 'ill' TO 'cured'";
    an_attribute_dropped_from_a_type_inside_a_column: Owner, "ALTER TYPE visit DROP ATTRIBUTE day";
    a_stored_generated_column: Owner, "ALTER TABLE entry ADD COLUMN twice bigint GENERATED ALWAYS AS (amount * 2) STORED";
    a_partition_attached_with_rows: Owner, "ALTER TABLE measure ATTACH PARTITION measure_4 FOR VALUES FROM (30) TO (40)";
    a_partition_detached: Owner, "ALTER TABLE measure DETACH PARTITION measure_2";
    a_partition_dropped: Owner, "DROP TABLE measure_2";
    a_table_dropped: Owner, "DROP TABLE entry CASCADE";
    a_table_dropped_by_a_superuser: Superuser, "DROP TABLE entry CASCADE";
    a_table_dropped_by_a_replica: Superuser, "SET session_replication_role = replica; DROP TABLE entry CASCADE";
    an_inheriting_table_altered_through_its_parent: Owner, "ALTER TABLE forebear ALTER COLUMN id TYPE bigint USING 0";
    a_guard_dropped: Owner, "DROP TRIGGER ledger_audit_guard ON entry";
    a_guard_against_truncate_dropped: Owner, "DROP TRIGGER ledger_audit_guard_truncate ON entry";
    a_guard_disabled: Owner, "ALTER TABLE entry DISABLE TRIGGER ledger_audit_guard";
}

#[tokio::test]
async fn unguarded_tables_can_be_altered_without_a_record() {
    let guarded = Guarded::new().await;
    for statements in [
        "CREATE TABLE another (id int); ALTER TABLE another ADD COLUMN it int; DROP TABLE another",
        "ALTER TABLE parent ADD COLUMN it int",
        "CREATE INDEX ON parent (id); CREATE INDEX ON entry (amount)",
        "SELECT ledger_audit.unguard('entry', 'a test')",
        "SELECT ledger_audit.guard('entry')",
        "SELECT ledger_audit.exempt('entry', 'a test')",
        "DROP TABLE entry CASCADE",
        "SELECT ledger_audit.maintain(5)",
        "CREATE TABLE measure_5 PARTITION OF measure FOR VALUES FROM (50) TO (60)",
    ] {
        guarded.accepts(Owner, &[statements]).await;
    }
    let temporary =
        "CREATE TEMP TABLE own (id int); ALTER TABLE own ADD COLUMN it int; DROP TABLE own";
    guarded.accepts(App, &[temporary]).await;
}

/// An event trigger's function runs for all roles, including superusers.
#[tokio::test]
async fn the_owner_cannot_replace_the_functions_of_event_triggers() {
    let guarded = Guarded::new().await;
    let mut owner = guarded.connect(Owner).await;
    for statement in [
        "CREATE OR REPLACE FUNCTION ledger_audit.guard_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "ALTER EVENT TRIGGER ledger_audit_ddl DISABLE",
    ] {
        assert_eq!(
            super::refusal(&mut owner, statement).await,
            "42501",
            "{statement}"
        );
    }
    // Functions that the owner can replace are not called with the privileges of another role.
    super::run(
        &mut owner,
        "ALTER FUNCTION ledger_audit.queue_check SECURITY INVOKER",
    )
    .await
    .unwrap();
    let mut superuser = guarded.connect(Superuser).await;
    let change = format!("BEGIN; {RECORD}; ALTER TABLE entry ADD COLUMN it int; COMMIT");
    assert_eq!(super::refusal(&mut superuser, &change).await, "AU002");
}

/// For a service whose owner is not a superuser, as on most managed servers.
#[tokio::test]
async fn migrations_succeed_without_the_privilege_to_create_event_triggers() {
    let mut database = super::super::database().await;
    let owner = database.role("owner", "LOGIN").await;
    let app = database.role("app", "LOGIN").await;
    let name = database.url().rsplit('/').next().unwrap().to_owned();
    let mut superuser = <sqlx::PgConnection as sqlx::Connection>::connect(database.url())
        .await
        .unwrap();
    super::run(
        &mut superuser,
        &format!("GRANT CREATE ON DATABASE {name} TO {owner}"),
    )
    .await
    .unwrap();
    let made = async |superuser: &mut sqlx::PgConnection| -> i64 {
        let made = "SELECT count(*) FROM pg_event_trigger WHERE evtname IN ('ledger_audit_ddl', 'ledger_audit_drop') AND evtenabled = 'A'";
        sqlx::query_scalar(made).fetch_one(superuser).await.unwrap()
    };
    let pool = sqlx::PgPool::connect(&database.url_as(&owner))
        .await
        .unwrap();
    let audit = platform_audit::Audit::builder(pool, "ledger").app_role(&app);
    audit.migrate().await.unwrap();
    audit.grant(Some(&app), None).await.unwrap();
    assert_eq!(made(&mut superuser).await, 0);
    let report = audit.check().await.unwrap();
    assert!(report.is_clean(), "{report}");
    let notes = report.notes;
    let [note, unsealed] = &notes[..] else {
        panic!("{notes:?}")
    };
    assert!(note.contains("no event triggers"), "{note}");
    assert!(unsealed.contains("the log is not sealed"), "{unsealed}");
    // Other missing objects are still found.
    super::run(&mut superuser, "DROP FUNCTION ledger_audit.unguard")
        .await
        .unwrap();
    let report = audit.check().await.unwrap();
    let [finding] = &report.findings[..] else {
        panic!("{report}")
    };
    assert!(
        finding.object.starts_with("ledger_audit.unguard("),
        "{report}"
    );
    // PUBLIC may execute a function that was created again, until that is repaired, too.
    for _ in 0..2 {
        for finding in audit.check().await.unwrap().findings {
            super::run(
                &mut superuser,
                &format!("SET ROLE {owner}; {}; RESET ROLE", finding.remedy),
            )
            .await
            .unwrap();
        }
    }
    let report = audit.check().await.unwrap();
    assert!(report.is_clean(), "{report}");
    // A superuser, who may act as the owner, adds them.
    let options: sqlx::postgres::PgConnectOptions = database.url().parse().unwrap();
    let pool = sqlx::PgPool::connect_with(options.options([("role", &owner)]))
        .await
        .unwrap();
    for _ in 0..2 {
        platform_audit::Audit::builder(pool.clone(), "ledger")
            .migrate()
            .await
            .unwrap();
        assert_eq!(made(&mut superuser).await, 2);
    }
    let report = audit.check().await.unwrap();
    assert!(
        report.is_clean() && report.notes == [unsealed.as_str()],
        "{report:?}"
    );
    let role: String = sqlx::query_scalar("SELECT current_user::text")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(role, owner, "the connection still has the owner's role");
}
