//! Every change of the audit schema is found, and what is found is mended by its remedy.

use std::path::Path;

use platform_audit::Audit;
use platform_audit::check::{FindingKind, Report};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, SqlitePool};

use super::guard::Guarded;

#[derive(Clone, Debug, sqlx::FromRow)]
struct Object {
    #[sqlx(rename = "type")]
    kind: String,
    name: String,
    tbl_name: String,
    sql: String,
}

/// Statements that change one object.
#[derive(Debug)]
struct Mutant {
    of: String,
    sql: String,
}

/// On one connection, which keeps what is temporary.
async fn open(path: &Path) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(SqliteConnectOptions::new().filename(path))
        .await
        .unwrap()
}

async fn check(pool: &SqlitePool) -> Report {
    Audit::new(pool.clone(), "ledger")
        .check()
        .await
        .expect("whatever is there can be checked")
}

async fn run(pool: &SqlitePool, sql: &str) -> sqlx::Result<()> {
    let mut connection = pool.acquire().await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut *connection)
        .await;
    if done.is_err() {
        let _ = sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await;
    }
    done.map(drop)
}

/// The places of the words, numbers, texts and signs of a statement, which is no comment's.
fn tokens(sql: &str) -> Vec<std::ops::Range<usize>> {
    let bytes = sql.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b' ' | b'\n' => {
                at += 1;
                continue;
            }
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at += sql[at..].find('\n').unwrap_or(sql.len() - at);
                continue;
            }
            quote @ (b'\'' | b'"') => {
                at += 2 + sql[at + 1..].find(char::from(quote)).unwrap();
            }
            byte if is_word(byte) => {
                at += bytes[at..]
                    .iter()
                    .take_while(|byte| is_word(**byte))
                    .count();
            }
            b'<' if bytes.get(at + 1) == Some(&b'>') => at += 2,
            _ => at += 1,
        }
        tokens.push(start..at);
    }
    tokens
}

/// `sql` with each of its words in turn left out, or another put in its place.
fn edits(sql: &str) -> Vec<String> {
    let mut edits = Vec::new();
    for token in tokens(sql) {
        let word = &sql[token.clone()];
        let others: &[&str] = match word {
            "BEFORE" => &["AFTER"],
            "AFTER" => &["BEFORE"],
            "INSERT" | "insert" => &["UPDATE", "DELETE"],
            "UPDATE" | "update" => &["DELETE", "UPDATE OF id"],
            "DELETE" | "delete" => &["UPDATE"],
            "BEGIN" => &[
                "WHEN (false) BEGIN",
                "WHEN 0 BEGIN",
                "BEGIN SELECT 1; END; --",
            ],
            "WHEN" => &["WHEN false AND"],
            "ABORT" => &["FAIL", "ROLLBACK"],
            "AND" => &["OR"],
            "=" => &["<>"],
            "<>" => &["="],
            "0" => &["2"],
            "1" => &["7"],
            "id" => &["relation"],
            "CHECK" => &["CHECK (true) CHECK"],
            "DEFERRABLE" => &["ON DELETE CASCADE DEFERRABLE"],
            "DEFERRED" => &["IMMEDIATE"],
            "ON" => &["ON parent --"],
            _ => &[],
        };
        for other in ["", "NULL"].iter().chain(others) {
            edits.push(format!(
                "{}{other}{}",
                &sql[..token.start],
                &sql[token.end..]
            ));
        }
    }
    edits
}

fn drop_of(object: &Object) -> String {
    format!("DROP {} \"{}\";", object.kind, object.name)
}

/// Statements that make a table anew, with all that belongs to it.
fn remake(table: &Object, sql: &str, objects: &[Object]) -> String {
    let belongs = objects
        .iter()
        .filter(|it| it.tbl_name == table.name && it.kind != "table");
    let again: String = belongs.map(|it| format!("{};\n", it.sql)).collect();
    // A fresh log has rows in no other table.
    let row = match table.name.ends_with("_obligation") {
        true => format!(
            "INSERT INTO {} (id, relation, changed_at) VALUES (1, '', '');",
            table.name
        ),
        false => String::new(),
    };
    format!(
        "PRAGMA foreign_keys = OFF; BEGIN; {} {sql};\n{row}{again} COMMIT; PRAGMA foreign_keys = ON;",
        drop_of(table)
    )
}

fn mutants(objects: &[Object]) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    let mut add = |of: &str, sql: String| {
        let of = of.to_owned();
        mutants.push(Mutant { of, sql });
    };
    for object in objects {
        add(
            &object.name,
            format!(
                "PRAGMA foreign_keys = OFF; {} PRAGMA foreign_keys = ON;",
                drop_of(object)
            ),
        );
        for edit in edits(&object.sql) {
            let sql = match object.kind.as_str() {
                "table" => remake(object, &edit, objects),
                _ => format!("BEGIN; {} {edit};\nCOMMIT;", drop_of(object)),
            };
            add(&object.name, sql);
        }
        if object.kind == "table" {
            let table = &object.name;
            for time in ["BEFORE", "AFTER"] {
                for event in ["INSERT", "UPDATE", "DELETE"] {
                    for (temporary, body) in [("", "RAISE(IGNORE)"), ("TEMP", "1")] {
                        add(
                            table,
                            format!(
                                "CREATE {temporary} TRIGGER x {time} {event} ON {table} BEGIN SELECT {body}; END"
                            ),
                        );
                    }
                }
            }
            for shadow in [
                format!("CREATE TEMP TABLE {table} (id TEXT)"),
                format!("CREATE TEMP VIEW {table} AS SELECT 1 AS id"),
                format!("CREATE UNIQUE INDEX x ON {table} (1)"),
                format!(
                    "PRAGMA foreign_keys = OFF; DROP TABLE {table}; CREATE VIEW {table} AS SELECT 1 AS id; PRAGMA foreign_keys = ON;"
                ),
                format!(
                    "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = sql || ' ' WHERE name = '{table}'; PRAGMA writable_schema = RESET;"
                ),
            ] {
                add(table, shadow);
            }
        }
    }
    for (of, sql) in [
        (
            "ledger_audit_obligation",
            "DROP TRIGGER ledger_audit_obligation_no_delete; DELETE FROM ledger_audit_obligation; CREATE TRIGGER ledger_audit_obligation_no_delete BEFORE DELETE ON ledger_audit_obligation\nBEGIN\n    SELECT RAISE(ABORT, 'unaudited change: an obligation is met by an audit record, not deleted');\nEND",
        ),
        ("entry", "ALTER TABLE entry RENAME TO booking"),
        ("the connection", "PRAGMA foreign_keys = OFF"),
        ("the connection", "PRAGMA ignore_check_constraints = ON"),
        ("the connection", "PRAGMA writable_schema = ON"),
        ("the connection", "PRAGMA trusted_schema = OFF"),
        ("the connection", "PRAGMA defer_foreign_keys = ON"),
        ("the connection", "PRAGMA journal_mode = OFF"),
    ] {
        add(of, sql.to_owned());
    }
    mutants
}

/// Applies the remedies until nothing is found.
async fn mend(pool: &SqlitePool, mut report: Report, mutant: &Mutant) {
    for _ in 0..3 {
        for finding in &report.findings {
            let mended = run(pool, &finding.remedy).await;
            mended.unwrap_or_else(|error| panic!("{mutant:#?}: {error}: {}", finding.remedy));
        }
        report = check(pool).await;
        if report.is_clean() {
            return;
        }
    }
    panic!("its remedies do not mend {mutant:#?}: {report}");
}

/// How many mutants SQLite takes, and what is found of them is mended.
async fn try_all(guarded: &Guarded, mutants: &[Mutant]) -> usize {
    let original = guarded.copy().await;
    let mutated = original.with_extension("mutated");
    let mut tried = 0;
    for mutant in mutants {
        std::fs::copy(&original, &mutated).unwrap();
        let pool = open(&mutated).await;
        if run(&pool, &mutant.sql).await.is_ok() {
            tried += 1;
            // As a check by another process, too, where it is not this connection's own affair.
            let report = check(&pool).await;
            assert!(!report.is_clean(), "nothing is found of {mutant:#?}");
            let refused = Audit::new(pool.clone(), "ledger").start().await;
            assert!(refused.is_err(), "it starts in spite of {mutant:#?}");
            mend(&pool, report, mutant).await;
        }
        pool.close().await;
    }
    tried
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_change_of_the_audit_schema_is_found_and_mended() {
    let guarded = Guarded::new().await;
    assert!(check(&guarded.pool).await.is_clean());
    let objects: Vec<Object> = sqlx::query_as(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema
            WHERE sql IS NOT NULL AND name LIKE 'ledger\\_audit\\_%' ESCAPE '\\' AND name <> 'ledger_audit_migration'",
    )
    .fetch_all(&guarded.pool)
    .await
    .unwrap();
    let all = mutants(&objects);
    let parts = all.chunks(all.len() / 4 + 1);
    let tried = parts.map(|part| try_all(&guarded, part));
    let tried: usize = futures_util::future::join_all(tried)
        .await
        .into_iter()
        .sum();
    println!(
        "{} objects; SQLite takes {tried} of {} changes, and each is found",
        objects.len(),
        all.len()
    );
    for object in &objects {
        assert!(all.iter().any(|mutant| mutant.of == object.name));
    }
    assert!(tried > 300, "{tried}");
}

/// What is the service's own is none of the check's.
#[tokio::test]
async fn changes_of_the_services_own_tables_are_not_found() {
    let guarded = Guarded::new().await;
    for change in [
        "ALTER TABLE entry ADD COLUMN note TEXT",
        "ALTER TABLE parent RENAME COLUMN id TO number",
        "CREATE TRIGGER touch AFTER UPDATE ON entry BEGIN SELECT 1; END",
        "CREATE INDEX entry_amount ON entry (amount)",
        "CREATE VIEW ledger_audit_mine AS SELECT * FROM ledger_audit_record",
        "CREATE TEMP TABLE scratch (id INTEGER)",
        "ANALYZE",
        "VACUUM",
    ] {
        run(&guarded.pool, change).await.unwrap();
        let report = check(&guarded.pool).await;
        assert!(report.is_clean(), "{change}: {report}");
    }
}

/// A trigger of the guard's name, on the guard's table, that does nothing.
#[tokio::test]
async fn guarding_again_mends_a_trigger_that_was_changed() {
    let guarded = Guarded::new().await;
    let hollow = "DROP TRIGGER ledger_audit_guard_entry_update;
        CREATE TRIGGER ledger_audit_guard_entry_update AFTER UPDATE ON entry WHEN (false)
        BEGIN UPDATE ledger_audit_obligation SET record_id = ''; END";
    run(&guarded.pool, hollow).await.unwrap();
    let report = check(&guarded.pool).await;
    let kinds: Vec<_> = report.findings.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [FindingKind::GuardMissing], "{report}");
    guarded.builder().start().await.expect("it guards again");
    assert!(check(&guarded.pool).await.is_clean());
    let refused = guarded.attempt(&["UPDATE entry SET amount = 0"]).await;
    assert!(refused.is_some());
}

/// One huge value would make every page of the log too big to be read.
#[tokio::test]
async fn a_huge_record_is_refused_where_it_is_written() {
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
            // Behind a NUL, where length() stops.
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
