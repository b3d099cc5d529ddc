//! Sealing, verifying and proving with the command.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

use std::path::Path;
use std::process::Command;

use platform_harness::database::TestDatabase;
use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, AssertSqlSafe};
use tempfile::TempDir;

struct Completed {
    status: i32,
    out: String,
    err: String,
}

/// A database, with a key and a published log in a folder.
struct Log {
    database: TestDatabase,
    folder: TempDir,
    vkey: String,
    pool: AnyPool,
    is_postgres: bool,
}

impl Log {
    /// A log with the records 1 to 300.
    async fn sealed(database: TestDatabase) -> Self {
        sqlx::any::install_default_drivers();
        let pool = AnyPoolOptions::new().connect(database.url()).await.unwrap();
        let is_postgres = database.url().starts_with("postgres");
        let folder = tempfile::tempdir().unwrap();
        let mut log = Self {
            database,
            folder,
            vkey: String::new(),
            pool,
            is_postgres,
        };
        let migrated = log.run("migrate --database-url {url} --service accounting");
        assert_eq!(migrated.status, 0, "{}", migrated.err);
        let key = log.run("key new {folder}/accounting.key --name example.com/accounting");
        assert_eq!(key.status, 0, "{}", key.err);
        log.vkey = key.out.trim().to_owned();
        log.write(1, 300).await;
        let sealed = log.seal();
        assert_eq!(sealed.out, "sealed 301 entries; the log has 301\n");
        log
    }

    /// Runs the command. `{url}`, `{folder}` and `{vkey}` stand for those of this log.
    fn run(&self, arguments: &str) -> Completed {
        let folder = self.folder.path().display().to_string();
        let arguments = arguments.split(' ').map(|it| {
            it.replace("{url}", self.database.url())
                .replace("{folder}", &folder)
                .replace("{vkey}", &self.vkey)
        });
        let output = Command::new(env!("CARGO_BIN_EXE_platform-audit"))
            .args(arguments)
            .env_remove("DATABASE_URL")
            .output()
            .unwrap();
        Completed {
            status: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn seal(&self) -> Completed {
        let sealed = self.run("seal --database-url {url} --service accounting --key {folder}/accounting.key --publish {folder}/published --once");
        assert_eq!(sealed.status, 0, "{}", sealed.err);
        sealed
    }

    fn verify(&self, more: &str) -> Completed {
        self.run(&format!(
            "verify --database-url {{url}} --service accounting --vkey {{vkey}}{more}"
        ))
    }

    fn published(&self) -> Completed {
        self.verify(" --tiles {folder}/published")
    }

    async fn execute(&self, statements: &str) {
        let prefix = if self.is_postgres {
            "accounting_audit."
        } else {
            "accounting_audit_"
        };
        sqlx::raw_sql(AssertSqlSafe(statements.replace('@', prefix)))
            .execute(&self.pool)
            .await
            .unwrap();
    }

    async fn write(&self, first: u32, last: u32) {
        let number = format!(
            "WITH RECURSIVE number (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM number WHERE n < {last})"
        );
        let columns = "id, occurred_at, service, actor_kind, actor_id, action, outcome";
        let values =
            "'2026-01-01T00:00:00.000Z', 'accounting', 'user', 'ada', 'entry.create', 'success'";
        self.execute(&match self.is_postgres {
            true => format!(
                "{number} INSERT INTO @record ({columns}) SELECT lpad(to_hex(n), 32, '0')::uuid, {values} FROM number"
            ),
            false => format!(
                "{number} INSERT INTO @record (xid, {columns}) SELECT 'tx', printf('00000000-0000-0000-0000-%012x', n), {values} FROM number"
            ),
        })
        .await;
    }

    /// Changes a record as the owner of the database.
    async fn tamper(&self, n: u32) {
        let disarm = match self.is_postgres {
            true => "ALTER TABLE @record DISABLE TRIGGER USER",
            false => "DROP TRIGGER IF EXISTS @record_no_update",
        };
        self.execute(&format!(
            "{disarm}; UPDATE @record SET reason = 'forged' WHERE id = '{}'",
            id(n)
        ))
        .await;
    }
}

fn id(n: u32) -> uuid::Uuid {
    uuid::Uuid::from_u128(n.into())
}

async fn logs() -> [Log; 2] {
    [
        Log::sealed(TestDatabase::postgres().await).await,
        Log::sealed(TestDatabase::sqlite()).await,
    ]
}

#[tokio::test]
async fn verify_exits_with_0_if_proven_and_1_if_harmed_or_not_anchored() {
    for log in logs().await {
        let proven = log.published();
        assert_eq!(proven.status, 0, "{}{}", proven.out, proven.err);
        assert!(
            proven
                .out
                .contains("checked 300 records, 301 entries, 1 tiles"),
            "{}",
            proven.out
        );
        assert!(
            proven
                .out
                .contains("proven: 301 of 301 entries are anchored in"),
            "{}",
            proven.out
        );
        let kept = log.verify(" --checkpoint {folder}/published/checkpoint");
        assert_eq!(kept.status, 0, "{}{}", kept.out, kept.err);

        let unanchored = log.verify("");
        assert_eq!(unanchored.status, 1);
        assert!(
            unanchored.out.contains("consistent, unanchored"),
            "{}",
            unanchored.out
        );
        assert_eq!(log.verify(" --allow-unanchored").status, 0);

        log.tamper(150).await;
        let harmed = log.published();
        assert_eq!(harmed.status, 1);
        let expected = format!(
            "changed: position 150: record {}: a value was changed",
            id(150)
        );
        assert!(harmed.out.starts_with(&expected), "{}", harmed.out);
        assert!(harmed.out.ends_with("harm found: 1\n"), "{}", harmed.out);
        assert_eq!(log.verify(" --allow-unanchored").status, 1);
        let json = log.verify(" --tiles {folder}/published --json");
        assert_eq!(json.status, 1);
        let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(json["verdict"], "harmed");
        assert_eq!(
            json["findings"],
            serde_json::json!([{
                "kind": "changed", "position": 150, "record": id(150).to_string(), "what": "the reason",
            }])
        );
    }
}

#[tokio::test]
async fn verify_exits_with_2_if_nothing_was_checked() {
    sqlx::any::install_default_drivers();
    for database in [TestDatabase::postgres().await, TestDatabase::sqlite()] {
        let log = Log::sealed(database).await;
        for arguments in [
            "verify --database-url postgres://127.0.0.1:1/none --service accounting --vkey {vkey}",
            "verify --database-url sqlite:{folder}/none.db --service accounting --vkey {vkey}",
            "verify --database-url {url} --service other --vkey {vkey}",
            "verify --database-url {url} --service accounting --vkey nonsense",
            "verify --database-url {url} --service accounting --vkey {vkey} --tiles {folder}/none",
            "verify --database-url {url} --service accounting --vkey {vkey} --checkpoint {folder}/none",
        ] {
            let unchecked = log.run(arguments);
            assert_eq!(
                unchecked.status, 2,
                "{arguments}: {}{}",
                unchecked.out, unchecked.err
            );
            assert!(
                unchecked.err.starts_with("platform-audit: "),
                "{}",
                unchecked.err
            );
        }
        let migrated = log.run("migrate --database-url {url} --service empty");
        assert_eq!(migrated.status, 0, "{}", migrated.err);
        let empty =
            log.run("verify --database-url {url} --service empty --vkey {vkey} --allow-unanchored");
        assert_eq!(empty.status, 2, "{}", empty.out);
        assert!(empty.out.contains("nothing was checked"), "{}", empty.out);
    }
}

#[tokio::test]
async fn verify_exits_with_2_without_privileges() {
    let mut database = TestDatabase::postgres().await;
    let stranger = database.role("stranger", "LOGIN").await;
    let log = Log::sealed(database).await;
    let url = log.database.url_as(&stranger);
    let refused = log.run(&format!(
        "verify --database-url {url} --service accounting --vkey {{vkey}} --tiles {{folder}}/published"
    ));
    assert_eq!(refused.status, 2, "{}", refused.out);
}

#[tokio::test]
async fn a_proof_is_verified_without_a_database_and_refused_if_it_was_changed() {
    for log in logs().await {
        for tiles in ["", " --tiles {folder}/published"] {
            let proof = log.run(&format!(
                "prove {} --database-url {{url}} --service accounting{tiles}",
                id(150)
            ));
            assert_eq!(proof.status, 0, "{}", proof.err);
            let file = log.folder.path().join("record.tlog-proof");
            std::fs::write(&file, &proof.out).unwrap();
            let verify = "verify-proof {folder}/record.tlog-proof --vkey {vkey}";
            let proven = log.run(verify);
            assert_eq!(proven.status, 0, "{}{}", proven.out, proven.err);
            let expected = format!(
                "proven: record {} is entry 150 of the log example.com/accounting",
                id(150)
            );
            assert!(proven.out.contains(&expected), "{}", proven.out);
            assert!(proven.out.contains("actor_id: ada\n"), "{}", proven.out);

            // A hash of the path, and the signature.
            for line in [4, proof.out.trim_end().lines().count() - 1] {
                std::fs::write(&file, with_changed_line(&proof.out, line)).unwrap();
                let refused = log.run(verify);
                assert_eq!(refused.status, 1, "{line}: {}{}", refused.out, refused.err);
                assert!(refused.out.starts_with("not proven: "), "{}", refused.out);
            }
            std::fs::write(&file, "nonsense").unwrap();
            assert_eq!(log.run(verify).status, 2);
        }
        log.tamper(150).await;
        let forged = log.run(&format!(
            "prove {} --database-url {{url}} --service accounting --tiles {{folder}}/published",
            id(150)
        ));
        std::fs::write(log.folder.path().join("forged"), &forged.out).unwrap();
        let refused = log.run("verify-proof {folder}/forged --vkey {vkey}");
        assert_eq!(refused.status, 1, "{}{}", refused.out, refused.err);
    }
}

/// The text with another character in a line.
fn with_changed_line(text: &str, changed: usize) -> String {
    let lines = text.lines().enumerate().map(|(n, line)| {
        let mut line = line.to_owned();
        if n == changed {
            let at = line.len() - 6;
            let other = if line.as_bytes()[at] == b'A' {
                "B"
            } else {
                "A"
            };
            line.replace_range(at..=at, other);
        }
        line + "\n"
    });
    lines.collect()
}

#[tokio::test]
async fn a_restore_is_refused_until_it_is_acknowledged() {
    for log in logs().await {
        log.pool.close().await;
        let backup = Log {
            database: log.database.copy().await,
            pool: log.pool.clone(),
            folder: tempfile::tempdir().unwrap(),
            vkey: log.vkey.clone(),
            is_postgres: log.is_postgres,
        };
        let log = Log {
            pool: AnyPoolOptions::new()
                .connect(log.database.url())
                .await
                .unwrap(),
            ..log
        };
        log.write(301, 303).await;
        log.seal();
        let backup = Log {
            pool: AnyPoolOptions::new()
                .connect(backup.database.url())
                .await
                .unwrap(),
            folder: log.folder,
            ..backup
        };
        let harmed = backup.published();
        assert_eq!(harmed.status, 1);
        assert!(
            harmed.out.starts_with("rollback: positions 301 to 303: "),
            "{}",
            harmed.out
        );
        let sealer = "--database-url {url} --service accounting --key {folder}/accounting.key --publish {folder}/published";
        let refused = backup.run(&format!("seal {sealer} --once"));
        assert_eq!(refused.status, 2);
        assert!(refused.err.contains("log resume"), "{}", refused.err);

        let resumed = backup.run(&format!("log resume {sealer} --because INC-7"));
        assert_eq!(resumed.status, 0, "{}", resumed.err);
        let proven = backup.published();
        assert_eq!(proven.status, 0, "{}", proven.out);
        let lost: String = (301..=303).map(|n| format!("  {}\n", id(n))).collect();
        let expected = format!("acknowledged_restore: 3 records were lost in a restore:\n{lost}");
        assert!(proven.out.contains(&expected), "{}", proven.out);
        let again = backup.run(&format!("log resume {sealer} --because INC-7"));
        assert_eq!(again.status, 2, "{}", again.out);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_is_created_once_for_its_owner_only_and_refused_if_others_can_read_it() {
    use std::os::unix::fs::PermissionsExt;

    let log = Log::sealed(TestDatabase::sqlite()).await;
    let file = log.folder.path().join("accounting.key");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    let again = log.run("key new {folder}/accounting.key");
    assert_eq!(again.status, 2);
    assert!(
        again.err.contains("an existing key is not overwritten"),
        "{}",
        again.err
    );

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = log
        .run("seal --database-url {url} --service accounting --key {folder}/accounting.key --once");
    assert_eq!(refused.status, 2);
    assert!(refused.err.contains("chmod 600"), "{}", refused.err);
}
