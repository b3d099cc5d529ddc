//! The check finds every change of the audit schema, and its remedy repairs it.

use platform_audit::Audit;
use platform_audit::check::{FindingKind, Report};
use sqlx::SqlitePool;

use super::check::{check, open, run};
use super::guard::Guarded;

#[derive(Clone, Debug)]
struct Object {
    kind: String,
    name: String,
    table: String,
    sql: String,
}

/// Statements that change one object.
#[derive(Debug)]
struct Mutant {
    of: String,
    sql: String,
    /// Whether they change the connection instead of the file.
    of_connection: bool,
    /// Whether it is one of many edits with the same remedy.
    edit: bool,
}

/// The ranges of the tokens of a statement: words, numbers, strings and symbols, without comments.
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

/// Variants of `sql` in each of which one token is removed or replaced.
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
        for other in [""].iter().chain(others) {
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

/// Statements that replace a table and recreate its indexes and triggers.
fn remake(table: &Object, sql: &str, objects: &[Object]) -> String {
    let belongs = objects
        .iter()
        .filter(|it| it.table == table.name && it.kind != "table");
    let again: String = belongs.map(|it| format!("{};\n", it.sql)).collect();
    // In a new log, no other table has rows.
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
    let mut add = |of: &str, sql: String, of_connection: bool, edit: bool| {
        let of = of.to_owned();
        mutants.push(Mutant {
            of,
            sql,
            of_connection,
            edit,
        });
    };
    for object in objects {
        let dropped = format!(
            "PRAGMA foreign_keys = OFF; {} PRAGMA foreign_keys = ON;",
            drop_of(object)
        );
        add(&object.name, dropped, false, false);
        for edit in edits(&object.sql) {
            let sql = match object.kind.as_str() {
                "table" => remake(object, &edit, objects),
                _ => format!("BEGIN; {} {edit};\nCOMMIT;", drop_of(object)),
            };
            add(&object.name, sql, false, true);
        }
        if object.kind != "table" {
            continue;
        }
        let table = &object.name;
        for time in ["BEFORE", "AFTER"] {
            for event in ["INSERT", "UPDATE", "DELETE"] {
                for temporary in [true, false] {
                    let kind = if temporary { "TEMP TRIGGER" } else { "TRIGGER" };
                    let sql = format!(
                        "CREATE {kind} x {time} {event} ON {table} BEGIN SELECT RAISE(IGNORE); END;"
                    );
                    add(table, sql, temporary, false);
                }
            }
        }
        for shadow in ["TABLE {} (id TEXT);", "VIEW {} AS SELECT 1 AS id;"] {
            let sql = format!("CREATE TEMP {}", shadow.replace("{}", table));
            add(table, sql, true, false);
        }
        for other in [
            "CREATE UNIQUE INDEX x ON {} (1)",
            "PRAGMA foreign_keys = OFF; DROP TABLE {}; CREATE VIEW {} AS SELECT 1 AS id; PRAGMA foreign_keys = ON;",
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = sql || ' ' WHERE name = '{}'; PRAGMA writable_schema = RESET;",
        ] {
            add(table, other.replace("{}", table), false, false);
        }
    }
    let no_delete = objects
        .iter()
        .find(|it| it.name == "ledger_audit_obligation_no_delete")
        .unwrap();
    let without_a_row = format!(
        "{} DELETE FROM ledger_audit_obligation; {};",
        drop_of(no_delete),
        no_delete.sql
    );
    add("ledger_audit_obligation", without_a_row, false, false);
    add(
        "entry",
        "ALTER TABLE entry RENAME TO booking".to_owned(),
        false,
        false,
    );
    for setting in [
        "foreign_keys = OFF",
        "ignore_check_constraints = ON",
        "writable_schema = ON",
        "trusted_schema = OFF",
        "journal_mode = OFF",
    ] {
        add("the connection", format!("PRAGMA {setting};"), true, false);
    }
    mutants
}

/// Applies the remedies until the check finds nothing.
async fn apply_remedies(pool: &SqlitePool, mut report: Report, mutant: &Mutant) {
    for _ in 0..3 {
        for finding in &report.findings {
            let repaired = run(pool, &finding.remedy).await;
            repaired.unwrap_or_else(|error| panic!("{mutant:#?}: {error}: {}", finding.remedy));
        }
        report = check(pool).await;
        if report.is_clean() {
            return;
        }
    }
    panic!("the remedies do not repair {mutant:#?}: {report}");
}

/// Asserts that the check finds every mutant that SQLite accepts, and that the remedies repair it.
/// One edit in twenty is repaired. Returns the number of accepted mutants.
async fn try_all(guarded: &Guarded, mutants: &[Mutant]) -> usize {
    let original = guarded.copy().await;
    let mutated = original.with_extension("mutated");
    let mut tried = 0;
    let mut fresh = None;
    for mutant in mutants {
        let pool = match fresh.take() {
            Some(pool) if !mutant.of_connection => pool,
            _ => {
                std::fs::copy(&original, &mutated).unwrap();
                let statements = if mutant.of_connection {
                    &*mutant.sql
                } else {
                    ""
                };
                open(&mutated, statements.to_owned()).await
            }
        };
        if !mutant.of_connection && run(&pool, &mutant.sql).await.is_err() {
            fresh = Some(pool);
            continue;
        }
        tried += 1;
        let report = check(&pool).await;
        assert!(!report.is_clean(), "not found: {mutant:#?}");
        if !mutant.edit || tried % 20 == 0 {
            let refused = Audit::builder(pool.clone(), "ledger").start().await;
            assert!(refused.is_err(), "a service starts despite {mutant:#?}");
            if mutant.of_connection {
                let remedies: Vec<_> = report.findings.into_iter().map(|it| it.remedy).collect();
                let repaired = format!("{}\n{}", mutant.sql, remedies.join("\n"));
                let report = check(&open(&mutated, repaired).await).await;
                assert!(
                    report.is_clean(),
                    "the remedies do not repair {mutant:#?}: {report}"
                );
            } else {
                apply_remedies(&pool, report, mutant).await;
            }
        }
        pool.close().await;
    }
    tried
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_change_of_the_audit_schema_is_found_and_repaired() {
    let guarded = Guarded::new().await;
    assert!(check(&guarded.pool).await.is_clean());
    let objects: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema
            WHERE sql IS NOT NULL AND name LIKE 'ledger\\_audit\\_%' ESCAPE '\\' AND name <> 'ledger_audit_migration'",
    )
    .fetch_all(&guarded.pool)
    .await
    .unwrap();
    let objects = objects.into_iter();
    let objects: Vec<_> = objects
        .map(|(kind, name, table, sql)| Object {
            kind,
            name,
            table,
            sql,
        })
        .collect();
    let all = mutants(&objects);
    let parts = all.chunks(all.len() / 4 + 1);
    let tried = parts.map(|part| try_all(&guarded, part));
    let tried: usize = futures_util::future::join_all(tried)
        .await
        .into_iter()
        .sum();
    println!(
        "{} objects; SQLite accepts {tried} of {} changes, and the check finds each",
        objects.len(),
        all.len()
    );
    for object in &objects {
        assert!(all.iter().any(|mutant| mutant.of == object.name));
    }
    assert!(tried > 300, "{tried}");
}

/// The check ignores the service's own tables.
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

/// Another version of the migrator may have created the table.
#[tokio::test]
async fn the_migrators_table_may_have_another_definition_but_must_be_a_table() {
    let guarded = Guarded::new().await;
    let column = "ALTER TABLE ledger_audit_migration ADD COLUMN note TEXT";
    run(&guarded.pool, column).await.unwrap();
    let report = check(&guarded.pool).await;
    assert!(report.is_clean(), "{report}");
    let view = "ALTER TABLE ledger_audit_migration RENAME TO kept;
        CREATE VIEW ledger_audit_migration AS SELECT * FROM kept";
    run(&guarded.pool, view).await.unwrap();
    let report = check(&guarded.pool).await;
    let found = report
        .findings
        .iter()
        .find(|it| it.object == "ledger_audit_migration");
    assert_eq!(
        found.map(|it| it.kind),
        Some(FindingKind::SchemaDiffers),
        "{report}"
    );
}
