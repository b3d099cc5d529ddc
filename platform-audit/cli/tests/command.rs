//! The command `platform-audit`, as an operator runs it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

use std::process::{Command, Stdio};

use platform_harness::database::TestDatabase;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

struct Completed {
    status: i32,
    out: String,
    err: String,
}

/// `{}` in the arguments is the database's URL.
fn run(url: &str, arguments: &str) -> Completed {
    let output = Command::new(env!("CARGO_BIN_EXE_platform-audit"))
        .args(arguments.split(' ').map(|it| it.replace("{}", url)))
        .env_remove("DATABASE_URL")
        .output()
        .unwrap();
    Completed {
        status: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

async fn execute(url: &str, statements: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
}

#[tokio::test]
async fn migrate_creates_the_schema_and_grants_and_check_reports_findings_by_exit_status() {
    let mut database = TestDatabase::postgres().await;
    let owner = database.role("owner", "NOLOGIN").await;
    let app = database.role("app", "LOGIN").await;
    let reader = database.role("reader", "LOGIN").await;
    let url = database.url().to_owned();
    let name = url.rsplit('/').next().unwrap();
    execute(&url, &format!("GRANT CREATE ON DATABASE {name} TO {owner}")).await;

    let check = format!("check --database-url {{}} --service accounting --app-role {app}");
    let before = run(&url, &check);
    assert_eq!(before.status, 1, "{}{}", before.out, before.err);
    assert!(
        before.out.contains("platform-audit migrate"),
        "{}",
        before.out
    );

    let migrate = format!(
        "migrate --database-url {{}} --service accounting --owner-role {owner} --app-role {app} --reader-role {reader}"
    );
    for _ in 0..2 {
        let migrated = run(&url, &migrate);
        assert_eq!(migrated.status, 0, "{}", migrated.err);
    }
    let clean = run(&url, &check);
    assert_eq!(
        (clean.status, clean.out.as_str()),
        (
            0,
            "accounting_audit: nothing found\nnote: the log is not sealed, so the owner of the database could rewrite it without a trace: platform-audit key new FILE, then platform-audit seal --service accounting --key FILE --publish DIR, or AuditBuilder::seal in the service\n"
        )
    );

    execute(&url, "CREATE TABLE entry (id int)").await;
    let found = run(&url, &check);
    assert_eq!(found.status, 1);
    assert!(
        found
            .out
            .contains("SELECT accounting_audit.guard('public.entry');"),
        "{}",
        found.out
    );
    let found = run(&url, &format!("{check} --format json"));
    assert_eq!(found.status, 1);
    let json: serde_json::Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!(json["findings"][0]["finding"], "table_unguarded");
    assert_eq!(json["findings"][0]["object"], "public.entry");

    // The reader role can read the view, but not the table.
    let mut reading = PgConnection::connect(&database.url_as(&reader))
        .await
        .unwrap();
    let read = sqlx::raw_sql("SELECT * FROM accounting_audit.records")
        .execute(&mut reading)
        .await;
    assert!(read.is_ok(), "{read:?}");
    let read = sqlx::raw_sql("SELECT * FROM accounting_audit.record")
        .execute(&mut reading)
        .await;
    assert!(read.is_err());

    let explained = run(&url, &format!("{check} --explain"));
    assert_eq!(explained.status, 0);
    for expected in [
        "Superusers",
        "postgres",
        &format!("{owner} owns the audit schema accounting_audit"),
        "Detected by",
    ] {
        assert!(
            explained.out.contains(expected),
            "{expected}: {}",
            explained.out
        );
    }
}

#[tokio::test]
async fn errors_exit_with_status_2_and_do_not_print_the_password() {
    let database = TestDatabase::postgres().await;
    for (arguments, expected) in [
        (
            "check --database-url {} --service Accounting",
            "is not a valid service name",
        ),
        (
            "check --database-url {} --service accounting --app-role nobody_at_all",
            "there is no role `nobody_at_all`",
        ),
        (
            "migrate --database-url {} --service accounting --app-role nobody_at_all",
            "there is no role `nobody_at_all`",
        ),
        (
            "migrate --database-url {} --service accounting --owner-role nobody_at_all",
            "the given role cannot be assumed",
        ),
        (
            "check --database-url postgres://me:s3cret@127.0.0.1:1/x --service accounting",
            "the database cannot be opened",
        ),
        (
            "check --database-url mysql://me:s3cret@127.0.0.1/x --service accounting",
            "is not a database URL",
        ),
        ("check --database-url {}", "--service"),
        (
            "query --database-url {} --service accounting --as grace --outcome fine",
            "timed_out",
        ),
        (
            "query --database-url {} --service accounting --as grace --actor-kind robot",
            "anonymous",
        ),
        (
            "actor ada --database-url {} --service accounting --as grace --actor linus",
            "--actor",
        ),
        (
            "tail --database-url {} --service accounting --as grace --since 7d",
            "takes no since",
        ),
        (
            "tail --database-url {} --service accounting --as grace --every 0",
            "0.1 to 3600",
        ),
        (
            "query --database-url sqlite:/nowhere/audit.db --service accounting --as grace",
            "?mode=rwc",
        ),
        (
            "unite --database-url sqlite::memory:",
            "SQLite has no schemas",
        ),
    ] {
        let completed = run(database.url(), arguments);
        assert_eq!(completed.status, 2, "{arguments}: {}", completed.out);
        assert!(
            completed.err.contains(expected),
            "{arguments}: {}",
            completed.err
        );
        assert!(!completed.err.contains("s3cret"), "{}", completed.err);
        let causes: Vec<&str> = completed.err.trim().split(": ").collect();
        let once: std::collections::BTreeSet<_> = causes.iter().collect();
        assert_eq!(
            once.len(),
            causes.len(),
            "a cause is printed twice: {}",
            completed.err
        );
    }
}

#[tokio::test]
async fn migrate_and_check_work_on_sqlite() {
    let database = TestDatabase::sqlite();
    let check = "check --database-url {} --service accounting";
    let before = run(database.url(), check);
    assert_eq!(before.status, 1, "{}{}", before.out, before.err);
    let migrated = run(
        database.url(),
        "migrate --database-url {} --service accounting",
    );
    assert_eq!(migrated.status, 0, "{}", migrated.err);
    let clean = run(database.url(), check);
    assert_eq!(clean.status, 0, "{}", clean.out);
    let explained = run(database.url(), &format!("{check} --explain"));
    assert!(
        explained.out.contains("SQLite has no roles"),
        "{}",
        explained.out
    );
}

#[tokio::test]
async fn queries_are_recorded_and_the_exit_status_reports_whether_records_were_found() {
    for database in [TestDatabase::postgres().await, TestDatabase::sqlite()] {
        let url = database.url().to_owned();
        let run_as_grace = |arguments: &str| {
            run(
                &url,
                &format!("{arguments} --database-url {{}} --service ledger --as grace"),
            )
        };
        let missing = run_as_grace("query");
        assert_eq!(missing.status, 2, "{}", missing.out);
        assert!(missing.err.contains("migrate"), "{}", missing.err);
        assert_eq!(
            run(&url, "migrate --database-url {} --service ledger").status,
            0
        );
        assert_eq!(run_as_grace("query").status, 1, "the log is empty");

        sqlx::any::install_default_drivers();
        let pool = sqlx::AnyPool::connect(&url).await.unwrap();
        let audit = platform_audit::Audit::builder(pool, "ledger")
            .development(true)
            .start()
            .await
            .unwrap();
        let work = async |tx: &mut platform_audit::AuditTx<sqlx::Any>| {
            tx.record("entry", "7\u{1b}[2J").detail("note", "by hand");
            tx.reason("a repair");
            Ok::<_, sqlx::Error>(tx.record_id())
        };
        let actor = platform_audit::Actor::user("ada");
        let id = audit
            .transaction(actor, "entry.repair", work)
            .await
            .unwrap();

        let found = run_as_grace("query --action entry.* --since 1h");
        assert_eq!(found.status, 0, "{}", found.err);
        assert!(found.out.contains("ada") && found.out.contains(&id.to_string()));
        assert!(found.out.contains("7\\u{1b}[2J"), "{}", found.out);
        assert!(
            !found.out.contains('\u{1b}'),
            "control characters are escaped"
        );
        let lines = run_as_grace("query --actor ada --format jsonl");
        let line: serde_json::Value = serde_json::from_str(lines.out.trim()).unwrap();
        assert_eq!(
            (&line["id"], &line["reason"]),
            (&id.to_string().into(), &"a repair".into())
        );
        for (filter, count) in [
            ("--actor-kind user", 1),
            ("--actor-kind service", 0),
            ("--outcome success,denied", 1),
            ("--outcome denied,failed", 0),
            ("--written-by ledger", 1),
            ("--written-by other", 0),
        ] {
            let arguments = format!("query --actor ada --format jsonl {filter}");
            assert_eq!(
                run_as_grace(&arguments).out.lines().count(),
                count,
                "{filter}"
            );
        }
        let shown = run_as_grace(&format!("show {id}"));
        assert!(shown.out.contains("a repair"), "{}", shown.out);
        assert_eq!(
            run_as_grace("show 019355d0-7b1d-7e3a-9c55-0242ac120002").status,
            1
        );
        assert_eq!(run_as_grace("history entry nothing").status, 1);
        assert!(run_as_grace("actor ada").out.contains("entry.repair"));
        let history = format!("history entry 7\u{1b}[2J --format jsonl --database-url {url}");
        let history = history
            .split(' ')
            .chain(["--service", "ledger", "--as", "grace"]);
        let history = Command::new(env!("CARGO_BIN_EXE_platform-audit"))
            .args(history)
            .output()
            .unwrap();
        let history: serde_json::Value = serde_json::from_slice(&history.stdout).unwrap();
        assert_eq!(history["id"], id.to_string());
        for by in ["month", "week"] {
            assert!(
                run_as_grace(&format!("stats --by {by}")).out.contains("20"),
                "{by}"
            );
        }
        assert!(
            run_as_grace("stats --by actor").out.contains("grace"),
            "reads are counted, too"
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("repairs.csv");
        let file = file.to_str().unwrap();
        let exported = run_as_grace(&format!(
            "export --action entry.* --format csv --out {file}"
        ));
        assert_eq!(exported.status, 0, "{}", exported.err);
        assert!(exported.err.contains("1 records"), "{}", exported.err);
        assert!(
            std::fs::read_to_string(file)
                .unwrap()
                .contains(&id.to_string())
        );
        assert_eq!(run(&url, &format!("verify-export {file}")).status, 0);
        // Control characters in a manifest are not printed.
        let manifest_file = format!("{file}.manifest.json");
        let text = std::fs::read_to_string(&manifest_file).unwrap();
        let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        manifest["sha256"] = "\u{1b}[2K\r\nrepairs.csv: 1 records, matches its manifest".into();
        std::fs::write(&manifest_file, manifest.to_string()).unwrap();
        let refused = run(&url, &format!("verify-export {file}"));
        assert_eq!(refused.status, 1, "{}", refused.err);
        assert!(!refused.err.contains(['\u{1b}', '\r']), "{:?}", refused.err);
        assert_eq!(refused.err.lines().count(), 1, "{:?}", refused.err);
        std::fs::write(file, "other").unwrap();
        assert_eq!(run(&url, &format!("verify-export {file}")).status, 1);
        assert_eq!(
            run_as_grace(&format!("export --out {file}")).status,
            2,
            "the file exists"
        );
        // Independent of key order, which depends on a feature of serde_json.
        for (format, part) in [
            ("csv", "id,xid,"),
            ("ocsf", "\"class_uid\":"),
            ("fhir", "\"resourceType\":\"AuditEvent\""),
            ("json", "{\n"),
        ] {
            let printed_page = run_as_grace(&format!("query --actor ada --format {format}"));
            assert!(
                printed_page.out.contains(part),
                "{format}: {}",
                printed_page.out
            );
        }
        for (wrong, expected) in [
            ("export --resume --out nothing.csv", "start it again"),
            ("export --resume --out nothing.csv --actor ada", "--actor"),
            ("export --format xls --out nothing.xls", "parquet"),
            ("export --resume --out -", "--out FILE"),
        ] {
            let refused = run_as_grace(wrong);
            assert_eq!(refused.status, 2, "{wrong}");
            assert!(refused.err.contains(expected), "{wrong}: {}", refused.err);
        }
        let printed = run_as_grace("export --action entry.* --out -");
        assert_eq!(printed.out.lines().count(), 1);
        let readings = run_as_grace("query --action audit.read --limit 1000 --format jsonl");
        for line in readings.out.lines() {
            let reading: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(reading["actor_id"], "grace");
        }
        assert!(readings.out.lines().count() >= 8, "{}", readings.out);
        for wrong in [
            "query --since tomorrowish",
            "query --limit 0",
            "query --after 00",
            "show 7",
        ] {
            let refused = run_as_grace(wrong);
            assert_eq!(refused.status, 2, "{wrong}");
            assert!(!refused.err.is_empty());
        }
    }
}

#[tokio::test]
async fn a_killed_export_can_be_resumed_and_contains_each_record_once() {
    use platform_audit::export::{ExportError, ExportFile, Format};
    use platform_audit::query::{AuditQuery, AuditReader, Direction, SortBy};

    let database = TestDatabase::sqlite();
    let url = database.url().to_owned();
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let audit = platform_audit::Audit::builder(pool.clone(), "ledger")
        .development(true)
        .start()
        .await
        .unwrap();
    for _ in 0..10 {
        let work = async |tx: &mut platform_audit::AuditTx<sqlx::Sqlite>| {
            for entry in 0..500 {
                tx.record("entry", entry);
            }
            Ok::<_, sqlx::Error>(())
        };
        let actor = platform_audit::Actor::user("ada");
        audit.transaction(actor, "entry.load", work).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.jsonl");
    let query = AuditQuery::new()
        .action("entry.load")
        .sort(SortBy::RecordedAt, Direction::Ascending);
    let reader = AuditReader::new(pool, "ledger").unwrap();
    let reading = reader.read_as(platform_audit::Actor::user("ada"));
    let origin = reading.origin();
    let mut file = ExportFile::create(&path, Format::JsonLines, &query, origin).unwrap();
    let killed = reading
        .for_each::<ExportError>(&query, |record| {
            if file.records() == 4_700 {
                return Err(ExportError::Exists("killed".to_owned()));
            }
            file.write(&record)
        })
        .await;
    assert!(killed.is_err());
    // As after a kill: nothing is flushed, and no lock is held.
    std::mem::forget(file);
    let [partial, left] = ["partial", "left"].map(|it| path.with_added_extension(it));
    std::fs::copy(&partial, &left).unwrap();
    std::fs::rename(&left, &partial).unwrap();

    let out = path.to_str().unwrap();
    let other = run(
        &url,
        &format!("export --database-url {{}} --service billing --as grace --resume --out {out}"),
    );
    assert_eq!(other.status, 2);
    assert!(other.err.contains("ledger_audit"), "{}", other.err);
    let resumed = run(
        &url,
        &format!("export --database-url {{}} --service ledger --as grace --resume --out {out}"),
    );
    assert_eq!(resumed.status, 0, "{}", resumed.err);
    assert!(resumed.err.contains("5000 records"), "{}", resumed.err);
    let ids: std::collections::BTreeSet<String> = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            record["id"].to_string()
        })
        .collect();
    assert_eq!(ids.len(), 5_000);
    assert_eq!(run("", &format!("verify-export {out}")).status, 0);
}

#[tokio::test]
async fn a_closed_output_pipe_ends_the_command_silently() {
    let database = TestDatabase::sqlite();
    let url = database.url();
    assert_eq!(run(url, "migrate --database-url {} --service a").status, 0);
    // A pipe whose reader is closed, as after `head`.
    for arguments in [
        "check --database-url {} --service a --explain",
        "stats --database-url {} --service a --as grace",
        "query --database-url {} --service a --as grace",
        "query --database-url {} --service a --as grace --format csv",
        "export --database-url {} --service a --as grace --format jsonl --out -",
        "completions bash",
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let command = Command::new(env!("CARGO_BIN_EXE_platform-audit"))
            .args(arguments.split(' ').map(|it| it.replace("{}", url)))
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = command.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(141), "{arguments}: {err}");
        assert_eq!(err, "", "{arguments}");
    }
    // Nothing was received, and the log records that.
    let pool = sqlx::SqlitePool::connect(url).await.unwrap();
    let exports = "SELECT details ->> '$.complete' FROM a_audit_record WHERE details ->> '$.kind' = 'exported'";
    let complete: Vec<i64> = sqlx::query_scalar(exports).fetch_all(&pool).await.unwrap();
    assert_eq!(complete, [0]);
}

#[test]
fn shell_completions_are_generated() {
    let completions = run("", "completions bash");
    assert_eq!(completions.status, 0);
    assert!(completions.out.contains("history"));
}
