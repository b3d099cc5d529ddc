//! Ways to bypass the toolkit on SQLite. Each is refused at COMMIT, and each succeeds without the
//! guard.

use platform_audit::check::FindingKind;
use platform_audit::{Actor, Audit, AuditTx, Error};
use platform_harness::database::TestDatabase;
use sqlx::{AssertSqlSafe, Connection, Sqlite, SqliteConnection, SqlitePool};

pub(super) const RECORD: &str = "INSERT INTO ledger_audit_record (id, xid, occurred_at, service, actor_kind, actor_id, action, outcome) VALUES (lower(hex(randomblob(16))), 'x', '2026-11-23T00:00:00Z', 'ledger', 'user', 'ada', 'entry.repair', 'success')";
pub(super) const ATTEMPT: &str = "INSERT INTO ledger_audit_record (id, xid, occurred_at, service, actor_kind, actor_id, action, outcome) VALUES (lower(hex(randomblob(16))), 'x', '2026-11-23T00:00:00Z', 'ledger', 'user', 'ada', 'entry.repair', 'denied')";
pub(super) const CHANGE: &str = "INSERT INTO entry VALUES (3, 30)";

pub(super) struct Guarded {
    pub(super) database: TestDatabase,
    pub(super) pool: SqlitePool,
}

impl Guarded {
    pub(super) async fn new() -> Self {
        let database = TestDatabase::sqlite();
        let pool = SqlitePool::connect(database.url()).await.unwrap();
        sqlx::raw_sql(
            "CREATE TABLE entry (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL);
             CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
             INSERT INTO entry VALUES (1, 10), (2, 20);
             INSERT INTO parent VALUES (1), (2);
             INSERT INTO child VALUES (1, 1), (2, 2);",
        )
        .execute(&pool)
        .await
        .unwrap();
        let guarded = Self { database, pool };
        // Not in development, so the check finds nothing.
        guarded.builder().start().await.expect("nothing is found");
        guarded
    }

    pub(super) fn builder(&self) -> platform_audit::AuditBuilder<Sqlite> {
        Audit::builder(self.pool.clone(), "ledger")
            .guard(["entry", "child"])
            .exempt("parent", "holds nothing")
    }

    /// Runs `steps` on one connection until one fails, and returns the error message.
    pub(super) async fn attempt(&self, steps: &[&str]) -> Option<String> {
        let mut connection = SqliteConnection::connect(self.database.url())
            .await
            .unwrap();
        let mut refused = None;
        for step in steps {
            let statement = AssertSqlSafe((*step).to_owned());
            if let Err(error) = sqlx::raw_sql(statement).execute(&mut connection).await {
                refused = Some(error.to_string());
                break;
            }
        }
        connection.close().await.unwrap();
        refused
    }

    pub(super) async fn content(&self) -> String {
        sqlx::query_scalar(
            "SELECT (SELECT group_concat(id || ':' || amount) FROM entry) || ' ' || (SELECT group_concat(id || ':' || parent) FROM child)",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// Copies the file to the same folder.
    pub(super) async fn copy(&self) -> std::path::PathBuf {
        let url = url::Url::parse(self.database.url()).unwrap();
        let name = format!("{}.db", uuid::Uuid::now_v7());
        let path = std::path::Path::new(url.path()).with_file_name(name);
        sqlx::query("VACUUM INTO $1")
            .bind(path.to_str().unwrap())
            .execute(&self.pool)
            .await
            .unwrap();
        path
    }

    async fn unguard(&self) {
        Audit::builder(self.pool.clone(), "ledger")
            .exempt("entry", "removed by the test")
            .exempt("child", "removed by the test")
            .migrate()
            .await
            .unwrap();
    }

    async fn refuses(&self, steps: &[&str]) {
        let before = self.content().await;
        let refused = self.attempt(steps).await.unwrap_or_default();
        assert!(
            refused.contains("FOREIGN KEY constraint failed")
                || refused.contains("unaudited change"),
            "{steps:?}: {refused}"
        );
        assert_eq!(self.content().await, before, "{steps:?}");
        self.unguard().await;
        let refused = self.attempt(steps).await;
        assert_eq!(refused, None, "refused without a guard: {steps:?}");
        assert_ne!(
            self.content().await,
            before,
            "changes nothing even without a guard: {steps:?}"
        );
    }
}

macro_rules! refused {
    ($($name:ident: [$($step:expr),* $(,)?];)*) => {$(
        #[tokio::test]
        async fn $name() {
            Guarded::new().await.refuses(&[$($step),*]).await;
        }
    )*};
}

refused! {
    insert: [CHANGE];
    insert_in_a_transaction: ["BEGIN", CHANGE, "COMMIT"];
    update: ["UPDATE entry SET amount = 0"];
    delete: ["DELETE FROM entry WHERE id = 1"];
    delete_of_all_rows: ["DELETE FROM child"];
    insert_or_replace: ["INSERT OR REPLACE INTO entry VALUES (1, 5)"];
    insert_or_ignore: ["INSERT OR IGNORE INTO entry VALUES (3, 30)"];
    update_or_ignore: ["UPDATE OR IGNORE entry SET amount = 7"];
    upsert_that_updates: ["INSERT INTO entry VALUES (1, 30) ON CONFLICT (id) DO UPDATE SET amount = 0"];
    delete_that_cascades_into_a_guarded_child: ["DELETE FROM parent WHERE id = 1"];
    update_that_cascades_into_a_guarded_child: ["UPDATE parent SET id = 7 WHERE id = 1"];
    write_in_a_trigger: ["CREATE TRIGGER IF NOT EXISTS t AFTER INSERT ON parent BEGIN INSERT INTO entry VALUES (NEW.id, 1); END", "INSERT INTO parent VALUES (8)"];
    record_rolled_back_with_a_savepoint: ["BEGIN", CHANGE, "SAVEPOINT s", RECORD, "ROLLBACK TO s", "COMMIT"];
    change_after_the_record: ["BEGIN", RECORD, CHANGE, "COMMIT"];
    record_of_a_failed_attempt: ["BEGIN", CHANGE, ATTEMPT, "COMMIT"];
    record_of_the_previous_transaction: [RECORD, CHANGE];
    deferred_foreign_keys: ["PRAGMA defer_foreign_keys = ON", CHANGE];
    foreign_keys_off: ["PRAGMA foreign_keys = OFF", CHANGE];
    recursive_triggers: ["PRAGMA recursive_triggers = ON", "INSERT OR REPLACE INTO entry VALUES (1, 5)"];
}

/// Attacks on the obligation itself.
#[tokio::test]
async fn only_a_new_record_meets_an_obligation() {
    let guarded = Guarded::new().await;
    assert_eq!(guarded.attempt(&[RECORD]).await, None);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let before = guarded.content().await;
    for trick in [
        "DELETE FROM ledger_audit_obligation",
        "UPDATE ledger_audit_obligation SET record_id = NULL",
        "UPDATE ledger_audit_obligation SET record_id = (SELECT id FROM ledger_audit_record)",
        "INSERT OR REPLACE INTO ledger_audit_obligation VALUES (1, '', '', NULL)",
    ] {
        let refused = guarded.attempt(&["BEGIN", CHANGE, trick, "COMMIT"]).await;
        let refused = refused.expect(trick);
        assert!(refused.contains("unaudited change"), "{trick}: {refused}");
        assert_eq!(guarded.content().await, before, "{trick}");
    }
    // Without its triggers each would succeed.
    let unprotected = [
        "DROP TRIGGER ledger_audit_obligation_no_delete",
        "BEGIN",
        CHANGE,
        "DELETE FROM ledger_audit_obligation",
        "COMMIT",
    ];
    assert_eq!(guarded.attempt(&unprotected).await, None);
    assert_ne!(guarded.content().await, before);
}

#[tokio::test]
async fn a_change_with_its_record_last_is_accepted() {
    for steps in [
        &["BEGIN", CHANGE, RECORD, "COMMIT"][..],
        &["BEGIN", RECORD, CHANGE, RECORD, "COMMIT"],
        &[
            "BEGIN",
            CHANGE,
            "SAVEPOINT s",
            RECORD,
            "RELEASE s",
            "COMMIT",
        ],
        &[
            "BEGIN",
            CHANGE,
            RECORD,
            "SAVEPOINT s",
            "DELETE FROM entry",
            "ROLLBACK TO s",
            "COMMIT",
        ],
        &["BEGIN", "DELETE FROM parent WHERE id = 1", RECORD, "COMMIT"],
    ] {
        let guarded = Guarded::new().await;
        let before = guarded.content().await;
        assert_eq!(guarded.attempt(steps).await, None, "{steps:?}");
        assert_ne!(guarded.content().await, before, "{steps:?}");
    }
    let guarded = Guarded::new().await;
    let before = guarded.content().await;
    for steps in [
        &["UPDATE entry SET amount = 0 WHERE id = 77"][..],
        &["BEGIN", CHANGE, "ROLLBACK"],
        &["BEGIN", "SAVEPOINT s", CHANGE, "ROLLBACK TO s", "COMMIT"],
        &["INSERT INTO parent VALUES (9)"],
    ] {
        assert_eq!(guarded.attempt(steps).await, None, "{steps:?}");
    }
    assert_eq!(guarded.content().await, before);
}

#[tokio::test]
async fn audited_changes_of_guarded_tables_are_committed() {
    let guarded = Guarded::new().await;
    let audit = guarded.builder().start().await.unwrap();
    let before = guarded.content().await;
    audit
        .transaction(
            Actor::system("job"),
            "entry.add",
            async |tx: &mut AuditTx<Sqlite>| {
                sqlx::query(CHANGE).execute(&mut *tx).await?;
                sqlx::query("DELETE FROM child").execute(&mut *tx).await?;
                Ok::<_, sqlx::Error>(())
            },
        )
        .await
        .unwrap();
    assert_ne!(guarded.content().await, before);
    audit.shutdown().await;
}

#[tokio::test]
async fn the_error_for_a_missing_table_names_it() {
    let guarded = Guarded::new().await;
    for builder in [
        guarded.builder().guard(["entri"]),
        guarded.builder().exempt("entri", "why"),
    ] {
        let error = builder.start().await.unwrap_err();
        assert!(error.to_string().contains("no table `entri`"), "{error}");
    }
}

#[tokio::test]
async fn each_manipulation_is_reported_alone() {
    for (harm, kind, object) in [
        (
            "DROP TRIGGER ledger_audit_guard_entry_update",
            FindingKind::GuardMissing,
            "entry",
        ),
        (
            "CREATE TABLE another (id INTEGER)",
            FindingKind::TableUnguarded,
            "another",
        ),
        (
            "DROP TRIGGER ledger_audit_record_no_delete",
            FindingKind::SchemaDiffers,
            "ledger_audit_record",
        ),
        (
            "DROP TRIGGER ledger_audit_obligation_met_by_record",
            FindingKind::SchemaDiffers,
            "ledger_audit_obligation",
        ),
        (
            "INSERT INTO ledger_audit_migration (version, description, success, checksum, execution_time) VALUES (99, 'x', true, x'00', 0)",
            FindingKind::MigrationAhead,
            "ledger_audit",
        ),
    ] {
        let guarded = Guarded::new().await;
        assert_eq!(guarded.attempt(&[harm]).await, None);
        let report = Audit::builder(guarded.pool.clone(), "ledger")
            .check()
            .await
            .unwrap();
        let found: Vec<_> = report
            .findings
            .iter()
            .map(|it| (it.kind, it.object.as_str()))
            .collect();
        assert_eq!(found, [(kind, object)], "{harm}: {report}");
        let refused = Audit::builder(guarded.pool.clone(), "ledger").start().await;
        assert!(matches!(refused, Err(Error::Unsafe(_))), "{harm}");
        if kind == FindingKind::GuardMissing {
            guarded
                .builder()
                .start()
                .await
                .expect("guarding again repairs the table");
        }
    }
    let guarded = Guarded::new().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().foreign_keys(false);
    let path = url::Url::parse(guarded.database.url())
        .unwrap()
        .path()
        .to_owned();
    let pool = SqlitePool::connect_with(options.filename(path))
        .await
        .unwrap();
    let report = Audit::builder(pool, "ledger").check().await.unwrap();
    assert_eq!(report.findings.len(), 1, "{report}");
    assert_eq!(report.findings[0].kind, FindingKind::ForeignKeysOff);
}

#[tokio::test]
async fn a_table_whose_name_starts_like_the_logs_tables_must_be_guarded() {
    let guarded = Guarded::new().await;
    for (schema, table) in [
        ("ledger_audit", "ledger_audit_note"),
        ("entry", "entry_note"),
    ] {
        let create = format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY)");
        sqlx::query(AssertSqlSafe(create))
            .execute(&guarded.pool)
            .await
            .unwrap();
        let error = guarded.builder().schema(schema).start().await.unwrap_err();
        let Error::Unsafe(report) = error else {
            panic!("{error}")
        };
        let found = report.findings.iter();
        let found: Vec<_> = found
            .map(|finding| (finding.kind, &*finding.object))
            .filter(|(_, object)| *object == table)
            .collect();
        assert_eq!(found, [(FindingKind::TableUnguarded, table)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrently_started_instances_wait_for_each_others_migration() {
    for _ in 0..10 {
        let database = TestDatabase::sqlite();
        let starts = (0..6).map(|_| {
            let url = database.url().to_owned();
            tokio::spawn(async move {
                let pool = SqlitePool::connect(&url).await.unwrap();
                Audit::builder(pool, "ledger").migrate().await
            })
        });
        for started in futures_util::future::join_all(starts).await {
            started
                .unwrap()
                .expect("each instance migrates the schema or finds it migrated");
        }
    }
}

/// There is no endless retry, as the connection itself works.
#[tokio::test]
async fn begin_fails_on_a_file_that_another_program_has_locked() {
    let guarded = Guarded::new().await;
    let options: sqlx::sqlite::SqliteConnectOptions = guarded.database.url().parse().unwrap();
    let impatient = options.busy_timeout(std::time::Duration::ZERO);
    let pool = SqlitePool::connect_with(impatient).await.unwrap();
    let audit = Audit::builder(pool, "ledger").start().await.unwrap();
    let mut other = SqliteConnection::connect(guarded.database.url())
        .await
        .unwrap();
    let _locked = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let work = audit.transaction(
        Actor::system("job"),
        "entry.add",
        async |_: &mut AuditTx<Sqlite>| Ok::<_, sqlx::Error>(()),
    );
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), work).await;
    let error = ended.expect("no timeout").unwrap_err();
    assert!(
        matches!(
            error,
            platform_audit::TransactionError::Audit(Error::Begin(_))
        ),
        "{error}"
    );
}
