//! The findings of the check, with their messages and remedies.

use std::path::Path;

use platform_audit::Audit;
use platform_audit::check::{FindingKind, Report};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, SqlitePool};

use super::guard::Guarded;

/// A pool whose connections run `statements` first.
pub(super) async fn open(path: &Path, statements: String) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(1)
        .after_connect(move |connection, _| {
            let statements = AssertSqlSafe(statements.clone());
            Box::pin(async move {
                sqlx::raw_sql(statements)
                    .execute(connection)
                    .await
                    .map(drop)
            })
        })
        .connect_with(SqliteConnectOptions::new().filename(path))
        .await
        .unwrap()
}

pub(super) async fn check(pool: &SqlitePool) -> Report {
    Audit::builder(pool.clone(), "ledger")
        .check()
        .await
        .expect("any database can be checked")
}

pub(super) async fn run(pool: &SqlitePool, sql: &str) -> sqlx::Result<()> {
    let mut connection = pool.acquire().await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut *connection)
        .await;
    if done.is_err() {
        let _ = sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await;
    }
    done.map(drop)
}

/// A trigger with the guard's name on the guarded table that does nothing.
#[tokio::test]
async fn guarding_again_repairs_a_changed_trigger() {
    let guarded = Guarded::new().await;
    let hollow = "DROP TRIGGER ledger_audit_guard_entry_update;
        CREATE TRIGGER ledger_audit_guard_entry_update AFTER UPDATE ON entry WHEN (false)
        BEGIN UPDATE ledger_audit_obligation SET record_id = ''; END";
    run(&guarded.pool, hollow).await.unwrap();
    let report = check(&guarded.pool).await;
    let kinds: Vec<_> = report.findings.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [FindingKind::GuardMissing], "{report}");
    guarded
        .builder()
        .start()
        .await
        .expect("the start repairs the guard");
    assert!(check(&guarded.pool).await.is_clean());
    let refused = guarded.attempt(&["UPDATE entry SET amount = 0"]).await;
    assert!(refused.is_some());
}

/// One huge value would make every page of the log too large to read.
#[tokio::test]
async fn a_huge_record_is_refused_on_insert() {
    let guarded = Guarded::new().await;
    let columns = [
        "id",
        "xid",
        "occurred_at",
        "recorded_at",
        "service",
        "service_version",
        "actor_id",
        "actor_session",
        "actor_tenant",
        "actor_on_behalf_of",
        "action",
        "resource_type",
        "resource_id",
        "error_type",
        "reason",
        "request_id",
        "method",
        "route",
        "path",
        "client_address",
        "user_agent",
        "trace_id",
        "span_id",
        "changes",
        "details",
        "cut",
    ];
    let usual = [
        ("id", "lower(hex(randomblob(16)))"),
        ("xid", "'x'"),
        ("service", "'ledger'"),
        ("occurred_at", "'2026-11-23T00:00:00Z'"),
        ("actor_kind", "'user'"),
        ("actor_id", "'m'"),
        ("action", "'a.b'"),
        ("outcome", "'denied'"),
    ];
    for column in columns {
        let huge = match column {
            "changes" | "details" => "json_object('x', hex(zeroblob(4000000)))",
            "cut" => "json_array(hex(zeroblob(4000000)))",
            // After a NUL, where length() stops.
            _ => "'abc' || char(0) || hex(zeroblob(4000000))",
        };
        let mut given: Vec<_> = usual
            .into_iter()
            .filter(|(name, _)| *name != column)
            .collect();
        given.push((column, huge));
        let (names, values): (Vec<_>, Vec<_>) = given.into_iter().unzip();
        let insert = format!(
            "INSERT INTO ledger_audit_record ({}) VALUES ({})",
            names.join(", "),
            values.join(", ")
        );
        let refused = guarded.attempt(&[&insert]).await;
        let refused = refused.unwrap_or_else(|| panic!("a huge {column} was stored"));
        assert!(
            refused.contains("CHECK constraint failed"),
            "{column}: {refused}"
        );
    }
}

/// Runs `statement` without the trigger `name`.
async fn without(pool: &SqlitePool, name: &str, statement: &str) -> String {
    let made: String = sqlx::query_scalar("SELECT sql FROM sqlite_schema WHERE name = $1")
        .bind(name)
        .fetch_one(pool)
        .await
        .unwrap();
    format!(
        "PRAGMA foreign_keys = OFF; DROP TRIGGER {name}; {statement}; {made}; PRAGMA foreign_keys = ON"
    )
}

/// Each change with parts of the message and remedy of its finding.
#[tokio::test]
async fn each_finding_has_a_message_and_a_remedy() {
    let guarded = Guarded::new().await;
    let pool = &guarded.pool;
    let changed = format!(
        "BEGIN; {}; {}; COMMIT",
        super::guard::CHANGE,
        super::guard::RECORD
    );
    run(pool, &changed).await.unwrap();
    let unnamed = super::guard::RECORD.replace("lower(hex(randomblob(16)))", "''");
    let unnamed = format!(
        "PRAGMA ignore_check_constraints = ON; {unnamed}; PRAGMA ignore_check_constraints = OFF"
    );
    let lost = without(
        pool,
        "ledger_audit_record_no_delete",
        "DELETE FROM ledger_audit_record",
    )
    .await;
    let rows = without(
        pool,
        "ledger_audit_obligation_no_delete",
        "DELETE FROM ledger_audit_obligation",
    )
    .await;
    let nameless = without(pool, "ledger_audit_record_no_empty_id", &unnamed).await;
    let in_the_file = [
        (
            "DROP TABLE ledger_audit_exemption",
            "its rows are lost",
            "CREATE TABLE",
        ),
        (
            "DROP INDEX ledger_audit_record_actor",
            "queries that use it read all records",
            "CREATE INDEX",
        ),
        (
            "DROP TRIGGER ledger_audit_record_no_update",
            "changes that it refuses are possible",
            "CREATE TRIGGER",
        ),
        (
            "DROP INDEX ledger_audit_record_actor; CREATE INDEX ledger_audit_record_actor ON ledger_audit_record (id)",
            "the index ledger_audit_record_actor differs from its definition in the migrations",
            "DROP INDEX IF EXISTS",
        ),
        (
            "ALTER TABLE ledger_audit_record ADD COLUMN x TEXT",
            "the table ledger_audit_record differs from its definition in the migrations",
            "INSERT INTO ledger_audit_record SELECT * FROM ledger_audit_record_found",
        ),
        (
            "PRAGMA foreign_keys = OFF; DROP TABLE ledger_audit_obligation; CREATE VIEW ledger_audit_obligation AS SELECT 1 AS id; PRAGMA foreign_keys = ON",
            "the table ledger_audit_obligation differs from its definition in the migrations",
            "CREATE TRIGGER ledger_audit_obligation_no_delete",
        ),
        (
            "CREATE TRIGGER ledger_audit_guard_x AFTER INSERT ON parent BEGIN SELECT 1; END",
            "the database has a trigger ledger_audit_guard_x",
            "DROP TRIGGER main.",
        ),
        (
            "CREATE TRIGGER x AFTER INSERT ON ledger_audit_record BEGIN SELECT 1; END",
            "the database has a trigger x",
            "DROP TRIGGER main.",
        ),
        (
            "DROP TRIGGER ledger_audit_guard_entry_update",
            "lacks its trigger ledger_audit_guard_entry_update",
            ".guard([\"entry\"]) before start",
        ),
        (
            "ALTER TABLE entry RENAME TO booking",
            "booking is neither guarded nor exempt",
            "or, if it needs no records: .exempt(\"booking\", \"why\")",
        ),
        (
            "INSERT INTO ledger_audit_migration (version, description, success, checksum, execution_time) VALUES (99, '', 1, x'', 0)",
            "migration 99, which this version of platform-audit does not know",
            "Run the version",
        ),
        (
            "DELETE FROM ledger_audit_migration WHERE version = (SELECT max(version) FROM ledger_audit_migration)",
            "the audit tables ledger_audit lack migration",
            "write access to the file",
        ),
        (
            &lost,
            "is missing from ledger_audit_record",
            "restore the records",
        ),
        (&rows, "lost its row", "INSERT INTO ledger_audit_obligation"),
        (
            &nameless,
            "has a record without an id",
            "DELETE FROM ledger_audit_record",
        ),
    ];
    let of_the_connection = [
        (
            "CREATE TEMP TRIGGER x AFTER INSERT ON ledger_audit_record BEGIN SELECT 1; END",
            "this connection has a trigger x",
            "DROP TRIGGER temp.",
        ),
        (
            "PRAGMA foreign_keys = OFF",
            "does not enforce foreign keys",
            "foreign_keys = ON; -- for each",
        ),
        (
            "PRAGMA ignore_check_constraints = ON",
            "ignore_check_constraints on, so records need not be well-formed",
            "PRAGMA ignore_check_constraints = OFF",
        ),
        (
            "PRAGMA writable_schema = ON",
            "writable_schema on, so any statement may rewrite",
            "PRAGMA writable_schema = OFF",
        ),
        (
            "PRAGMA trusted_schema = OFF",
            "trusted_schema off, so guarded tables cannot be changed",
            "PRAGMA trusted_schema = ON",
        ),
        (
            "PRAGMA journal_mode = OFF",
            "journal_mode off, so changes that are rolled back may stay",
            "PRAGMA journal_mode = WAL",
        ),
    ];
    let says = |report: &Report, harm: &str, message: &str, remedy: &str| {
        let said = report
            .findings
            .iter()
            .any(|it| it.message.contains(message) && it.remedy.contains(remedy));
        assert!(said, "{harm}: {report:#?}");
    };
    for (harm, message, remedy) in in_the_file {
        let pool = open(&guarded.copy().await, String::new()).await;
        run(&pool, harm).await.expect(harm);
        says(&check(&pool).await, harm, message, remedy);
    }
    for (harm, message, remedy) in of_the_connection {
        let pool = open(&guarded.copy().await, harm.to_owned()).await;
        says(&check(&pool).await, harm, message, remedy);
    }
    let pool = open(&guarded.copy().await, String::new()).await;
    let gone = "PRAGMA foreign_keys = OFF; DROP TABLE ledger_audit_obligation";
    run(&pool, gone).await.unwrap();
    let report = check(&pool).await;
    let made_again = report
        .findings
        .iter()
        .find(|it| {
            it.message
                .contains("the table ledger_audit_obligation is missing")
        })
        .unwrap_or_else(|| panic!("{report:#?}"));
    let remedy = &made_again.remedy;
    assert!(remedy.contains("ledger_audit_obligation_no_delete"));
    assert!(
        !remedy.contains("ledger_audit_record_no_update"),
        "objects of other tables are not recreated: {remedy}"
    );
}
