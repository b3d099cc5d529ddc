//! Filters of the command, the records of its reads, and the escaping of its output.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

use std::process::{Command, Output};

use platform_audit::{Actor, Audit, AuditTx};
use platform_harness::database::TestDatabase;
use serde_json::Value;
use sqlx::{Any, AnyPool};

/// Control sequences: clear the screen (7-bit and 8-bit), set the title, reverse the text
/// direction, delete.
const HOSTILE: &str = "7\u{1b}[2J\u{9b}2J\u{9d}0;x\u{9c}\u{7f}\u{8}\u{202e}";

/// An audit log of the service `ledger`.
struct Log {
    database: TestDatabase,
    audit: Audit<Any>,
}

impl Log {
    async fn new(database: TestDatabase) -> Self {
        sqlx::any::install_default_drivers();
        let pool = AnyPool::connect(database.url()).await.unwrap();
        Audit::builder(pool.clone(), "ledger")
            .migrate()
            .await
            .unwrap();
        let audit = Audit::builder(pool, "ledger").development(true);
        let audit = audit.start().await.unwrap();
        Self { database, audit }
    }

    async fn write(&self, actor: &str, action: &'static str, entry: &str) {
        let work = async |tx: &mut AuditTx<Any>| {
            tx.record("entry", entry).detail("note", entry);
            tx.reason(entry);
            Ok::<_, sqlx::Error>(())
        };
        let actor = Actor::user(actor);
        self.audit.transaction(actor, action, work).await.unwrap();
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = command(self.database.url(), arguments).output().unwrap();
        read(&output)
    }

    /// The record of the last read.
    fn last_reading(&self) -> Value {
        let arguments = ["query", "--action", "audit.read", "--limit", "1"];
        let (_, out, _) = self.run(&[&arguments[..], &["--format", "jsonl"]].concat());
        serde_json::from_str(&out).unwrap()
    }
}

fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_platform-audit"));
    command
        .args(arguments)
        .args(["--service", "ledger", "--database-url", url])
        .env("AUDIT_READER", "grace")
        .env_remove("DATABASE_URL");
    command
}

fn read(output: &Output) -> (i32, String, String) {
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout.clone()).unwrap(),
        String::from_utf8(output.stderr.clone()).unwrap(),
    )
}

#[tokio::test]
async fn a_list_matches_any_of_its_values_and_an_unsupported_wildcard_is_refused() {
    for database in [TestDatabase::postgres().await, TestDatabase::sqlite()] {
        let log = Log::new(database).await;
        log.write("ada", "patient.read", "1").await;
        log.write("dr.bob", "patient.export", "2").await;
        log.write("Doe, Jane", "entry.create", "3").await;
        for (filter, found) in [
            (&["--action", "patient.read,patient.export"][..], 2),
            (&["--action", "patient.read", "--action", "entry.*"], 2),
            (&["--action", "patient.*,entry.create"], 3),
            (&["--actor", "ada,dr.bob"], 2),
            (&["--actor", "Doe\\, Jane,ada"], 2),
            (&["--resource-type", "entry", "--resource-id", "1,3,4"], 2),
            (&["--outcome", "denied,success", "--actor", "ada"], 1),
            (&["--actor-kind", "user,service", "--resource-id", "2"], 1),
            (&["--actor", "dr.bo"], 0),
        ] {
            let asked = [&["query", "--format", "jsonl"], filter].concat();
            let (status, out, err) = log.run(&asked);
            assert_eq!(out.lines().count(), found, "{filter:?}: {out}{err}");
            assert_eq!(status, i32::from(found == 0), "{filter:?}");
        }
        let (_, out, _) = log.run(&["history", "entry", "1,2", "--format", "jsonl"]);
        assert_eq!(out.lines().count(), 2, "{out}");
        let (_, out, _) = log.run(&["actor", "ada,dr.bob", "--format", "jsonl"]);
        assert_eq!(out.lines().count(), 2, "{out}");
        for (arguments, expected) in [
            (&["query", "--actor", "dr.*"][..], "`dr.*` is a pattern"),
            (&["query", "--actor", "ada,dr.*"], "`dr.*` is a pattern"),
            (&["query", "--action", "*.read"], "`*.read` has a star"),
            (&["query", "--reason", "ticket*"], "`ticket*` is a pattern"),
            (&["query", "--actor", ""], "actor: it is empty"),
            (&["actor", "dr.*"], "`dr.*` is a pattern"),
            (&["history", "entry", "7*"], "`7*` is a pattern"),
            (
                &["stats", "--tenant", "clinic-*"],
                "`clinic-*` is a pattern",
            ),
            (
                &["tail", "--route", "/entries/*"],
                "`/entries/*` is a pattern",
            ),
            (
                &[
                    "query",
                    "--since",
                    "2026-03-03T22:00:00+02:00[Europe/Berlin]",
                ],
                "time zone",
            ),
        ] {
            let (status, out, err) = log.run(arguments);
            assert_eq!(status, 2, "{arguments:?}: {out}");
            assert!(err.contains(expected), "{arguments:?}: {err}");
        }
    }
}

/// Whether the output contains terminal control characters.
fn has_control_characters(out: &str) -> bool {
    let is_command = |it: char| it.is_control() && !matches!(it, '\n' | '\r' | '\t');
    out.contains(is_command) || out.contains('\u{202e}')
}

#[cfg(unix)]
#[tokio::test]
async fn control_characters_are_escaped_on_a_terminal_in_every_format() {
    let log = Log::new(TestDatabase::sqlite()).await;
    log.write(HOSTILE, "entry.create", HOSTILE).await;
    let commands = [
        &["query", "--action", "entry.*"][..],
        &["history", "entry", HOSTILE],
        &["actor", HOSTILE],
        &["export", "--action", "entry.*", "--out", "-"],
    ];
    let formats = ["table", "csv", "json", "jsonl", "ocsf", "fhir"];
    for subcommand in commands {
        for format in formats
            .iter()
            .filter(|it| subcommand[0] != "export" || **it != "table")
        {
            let arguments = [subcommand, &["--format", format]].concat();
            let command = command(log.database.url(), &arguments);
            let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap());
            let line: Vec<String> = [command.get_program()]
                .into_iter()
                .chain(command.get_args())
                .map(quoted)
                .collect();
            // From util-linux: runs the command on a pseudo-terminal and captures the output.
            let output = Command::new("script")
                .args(["-qec", &line.join(" "), "/dev/null"])
                .env("AUDIT_READER", "grace")
                .output()
                .unwrap();
            let (status, out, _) = read(&output);
            assert_eq!(status, 0, "{arguments:?}: {out}");
            assert!(out.contains("entry.create"), "{arguments:?}: {out}");
            assert!(!has_control_characters(&out), "{arguments:?}: {out:?}");
        }
    }
}

#[tokio::test]
async fn json_escapes_control_characters_everywhere_and_csv_keeps_the_recorded_text() {
    let log = Log::new(TestDatabase::sqlite()).await;
    log.write("ada", "entry.create", HOSTILE).await;
    for format in ["json", "jsonl", "ocsf", "fhir"] {
        let (_, out, _) = log.run(&["query", "--actor", "ada", "--format", format]);
        assert!(!has_control_characters(&out), "{format}: {out:?}");
        let json: Value = serde_json::from_str(&out).unwrap();
        let record = match format {
            "json" => &json["records"][0],
            _ => &json,
        };
        if format.starts_with("json") {
            assert_eq!(record["reason"], HOSTILE, "{format}");
        }
    }
    for arguments in [
        &["stats", "--by", "resource_type", "--format", "jsonl"][..],
        &["show", "019355d0-7b1d-7e3a-9c55-0242ac120002"],
    ] {
        assert!(
            !has_control_characters(&log.run(arguments).1),
            "{arguments:?}"
        );
    }
    let (_, out, _) = log.run(&["query", "--actor", "ada", "--format", "csv"]);
    let mut rows = csv::Reader::from_reader(out.as_bytes());
    let row = rows.records().next().unwrap().unwrap();
    let record = platform_audit::export::from_row(row.iter()).unwrap();
    assert_eq!(record.reason.as_deref(), Some(HOSTILE));
    assert!(
        !has_control_characters(&row[27]),
        "details are JSON: {:?}",
        &row[27]
    );
}

#[tokio::test]
async fn a_read_by_the_command_records_its_host_and_user() {
    for database in [TestDatabase::postgres().await, TestDatabase::sqlite()] {
        let is_postgres = database.url().starts_with("postgres");
        let log = Log::new(database).await;
        log.write("ada", "entry.create", "1").await;
        log.run(&["query", "--actor", "ada"]);
        let reading = log.last_reading();
        let details = &reading["details"];
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(details["host"], host.trim(), "{reading}");
        let user = Command::new("id").arg("-un").output().unwrap();
        let (_, user, _) = read(&user);
        assert_eq!(details["os_user"], user.trim(), "{reading}");
        if is_postgres {
            assert_eq!(reading["client_address"], "127.0.0.1", "{reading}");
            assert_eq!(details["database_client"], "127.0.0.1", "{reading}");
        }
    }
}

#[tokio::test]
async fn verify_export_detects_a_changed_file_or_manifest() {
    for database in [TestDatabase::postgres().await, TestDatabase::sqlite()] {
        let log = Log::new(database).await;
        log.write("ada", "entry.create", "1").await;
        log.write("eve", "entry.create", "2").await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.jsonl");
        let file = path.to_str().unwrap();
        let (status, _, err) = log.run(&["export", "--action", "entry.*", "--out", file]);
        assert_eq!(status, 0, "{err}");
        let verify = ["verify-export", file];
        let (status, out, err) = log.run(&verify);
        assert_eq!(status, 0, "{err}");
        assert!(out.contains("2 records") && out.contains("grace"), "{out}");
        let recorded = log.run(&["query", "--action", "audit.read", "--format", "jsonl"]);
        let recorded = recorded
            .1
            .lines()
            .map(|it| serde_json::from_str::<Value>(it).unwrap());
        let ended = recorded
            .filter(|it| it["details"]["kind"] == "exported")
            .map(|it| it["id"].as_str().unwrap().to_owned());
        assert!(out.contains(&ended.collect::<Vec<_>>().join(" ")), "{out}");

        // A file without its last line, and a manifest that matches it.
        let whole = std::fs::read_to_string(&path).unwrap();
        let kept = whole.lines().next().unwrap().to_owned() + "\n";
        let elsewhere = tempfile::tempdir().unwrap();
        let other = elsewhere.path().join("all.jsonl");
        let (status, _, _) = log.run(&[
            "export",
            "--action",
            "entry.*",
            "--actor",
            "ada",
            "--out",
            other.to_str().unwrap(),
        ]);
        assert_eq!(status, 0);
        assert_eq!(std::fs::read_to_string(&other).unwrap(), kept);
        let manifest = |path: &std::path::Path| path.with_added_extension("manifest.json");
        let mut forged: Value =
            serde_json::from_slice(&std::fs::read(manifest(&other)).unwrap()).unwrap();
        forged["query"].as_object_mut().unwrap().remove("actor");
        std::fs::write(manifest(&path), forged.to_string()).unwrap();
        std::fs::write(&path, kept).unwrap();
        let (status, out, err) = log.run(&verify);
        assert_eq!((status, out.as_str()), (1, ""), "{err}");
        assert!(err.contains("was changed since"), "{err}");

        // Without the log, the forgery cannot be detected, and the command says so.
        let without_log = Command::new(env!("CARGO_BIN_EXE_platform-audit"))
            .args(verify)
            .env("DATABASE_URL", log.database.url())
            .output();
        let (status, out, err) = read(&without_log.unwrap());
        assert_eq!(status, 0, "{err}");
        assert!(out.contains("1 records"), "{out}");
        assert!(err.contains("with each other"), "{err}");

        // The log is chosen by the caller, not by a possibly forged manifest.
        forged["origin"]["service"] = "billing".into();
        std::fs::write(manifest(&path), forged.to_string()).unwrap();
        let (status, _, err) = log.run(&verify);
        assert_eq!(status, 1, "{err}");
        assert!(err.contains("billing"), "{err}");
    }
}

/// Postgres only: SQLite enforces that an id is unique.
#[tokio::test]
async fn an_id_that_was_written_twice_is_reported_and_all_its_records_are_shown() {
    let log = Log::new(TestDatabase::postgres().await).await;
    log.write("ada", "entry.create", "7").await;
    let (_, out, _) = log.run(&["history", "entry", "7", "--format", "jsonl"]);
    let record: Value = serde_json::from_str(&out).unwrap();
    let id = record["id"].as_str().unwrap();
    let (status, _, err) = log.run(&["show", id]);
    assert_eq!((status, err.as_str()), (0, ""));
    let duplicate = "INSERT INTO ledger_audit.record (id, recorded_at, occurred_at, service, actor_kind, actor_id, action, outcome, resource_type, resource_id)
        SELECT id, '2025-01-02', occurred_at, service, actor_kind, 'mallory', action, outcome, resource_type, resource_id FROM ledger_audit.record WHERE actor_id = 'ada'";
    let pool = sqlx::PgPool::connect(log.database.url()).await.unwrap();
    sqlx::query(duplicate).execute(&pool).await.unwrap();
    for (arguments, expected) in [
        (&["show", id][..], "2 records have this id"),
        (
            &["history", "entry", "7"],
            &format!("the last record has the same id {id} as a record above"),
        ),
    ] {
        let (status, out, err) = log.run(arguments);
        assert_eq!(status, 0, "{arguments:?}: {err}");
        assert!(err.contains(expected), "{arguments:?}: {err}");
        for actor in ["mallory", "ada"] {
            assert!(out.contains(actor), "{arguments:?}: {out}");
        }
    }
}

#[tokio::test]
async fn check_explain_lists_roles_that_can_assume_the_owner() {
    let mut database = TestDatabase::postgres().await;
    let mut roles = Vec::new();
    for (name, options) in [
        ("owner", "NOLOGIN"),
        ("deploy", "LOGIN"),
        ("admins", "NOLOGIN"),
        ("jane", "LOGIN"),
        ("maker", "LOGIN CREATEROLE"),
        ("stranger", "LOGIN"),
    ] {
        roles.push(database.role(name, options).await);
    }
    let [owner, deploy, admins, jane, maker, stranger] = <[String; 6]>::try_from(roles).unwrap();
    let name = database.url().rsplit('/').next().unwrap().to_owned();
    let pool = sqlx::PgPool::connect(database.url()).await.unwrap();
    for statement in [
        format!("GRANT CREATE ON DATABASE {name} TO {owner}"),
        format!("GRANT {owner} TO {deploy}, {admins}"),
        format!("GRANT {admins} TO {jane}"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&pool)
            .await
            .unwrap();
    }
    let version: String = sqlx::query_scalar("SELECT current_setting('server_version_num')")
        .fetch_one(&pool)
        .await
        .unwrap();
    let url = database.url();
    let output = command(url, &["migrate", "--owner-role", &owner])
        .output()
        .unwrap();
    assert_eq!(read(&output).0, 0, "{}", read(&output).2);
    let (status, out, err) = read(&command(url, &["check", "--explain"]).output().unwrap());
    assert_eq!(status, 0, "{err}");
    for member in [&deploy, &admins, &jane] {
        assert!(
            out.contains(&format!("  {member} may become {owner}\n")),
            "{out}"
        );
    }
    let is_maker_named = out.contains(&format!("  {maker} may become {owner}\n"));
    assert_eq!(
        is_maker_named,
        version.parse::<u32>().unwrap() < 160_000,
        "{out}"
    );
    assert!(!out.contains(&stranger), "{out}");
    let json = command(url, &["check", "--explain", "--format", "json"])
        .output()
        .unwrap();
    let json: Value = serde_json::from_str(&read(&json).1).unwrap();
    let trusted = json["trusted"].as_array().unwrap();
    let jane = trusted
        .iter()
        .find(|it| it["role"] == jane.as_str())
        .unwrap();
    assert_eq!(
        (&jane["owns"], &jane["member_of"]),
        (&Value::Null, &owner.into())
    );
}
