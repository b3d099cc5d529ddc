//! Ways to bypass the toolkit. Postgres refuses each, and each succeeds without the guard.

mod accepted;
mod bypass;
mod catalog;
mod check;
mod definitions;
mod forgery;
mod growth;
mod names;
mod privileges;
mod report;
mod shadowed;
mod start;

use platform_audit::Audit;
use platform_harness::database::TestDatabase;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

/// The connecting role.
#[derive(Clone, Copy, Debug)]
enum Who {
    /// The role of a service.
    App,
    /// The owner of the tables and the audit schema.
    Owner,
    Superuser,
}

/// A database as documented: an owner, an application role, and guarded tables.
struct Guarded {
    database: TestDatabase,
    owner: String,
    app: String,
}

/// `entry` is independent; `child` references `parent`, which is exempt; `measure` is partitioned,
/// and two of its partitions were attached after it was guarded.
const TABLES: &str = "
    CREATE TABLE entry (id bigint PRIMARY KEY, amount bigint NOT NULL);
    CREATE TABLE parent (id bigint PRIMARY KEY);
    CREATE TABLE child (id bigint PRIMARY KEY, parent bigint REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
    CREATE TABLE measure (day int NOT NULL, amount bigint NOT NULL) PARTITION BY RANGE (day);
    CREATE TABLE measure_1 PARTITION OF measure FOR VALUES FROM (0) TO (10);
    INSERT INTO entry VALUES (1, 10), (2, 20);
    INSERT INTO parent VALUES (1), (2);
    INSERT INTO child VALUES (1, 1), (2, 2);
    INSERT INTO measure VALUES (1, 1);
    CREATE FUNCTION add_entry(id bigint) RETURNS void LANGUAGE sql AS 'INSERT INTO entry VALUES (id, 1)';
    SELECT ledger_audit.guard(it) FROM unnest(ARRAY['entry', 'child', 'measure']::regclass[]) AS it;
    SELECT ledger_audit.exempt('parent', 'holds nothing');
    CREATE TABLE measure_2 PARTITION OF measure FOR VALUES FROM (10) TO (20);
    CREATE TABLE measure_3 (amount bigint NOT NULL, day int NOT NULL);
    ALTER TABLE measure ATTACH PARTITION measure_3 FOR VALUES FROM (20) TO (30);
";

/// A summary of the tables' contents.
const CONTENT: &str = "SELECT concat_ws(' ',
    (SELECT count(*) || ':' || md5(string_agg(it::text, ' ' ORDER BY id)) FROM entry AS it),
    (SELECT count(*) || ':' || md5(string_agg(it::text, ' ' ORDER BY id)) FROM child AS it),
    (SELECT count(*) || ':' || md5(string_agg(it::text, ' ' ORDER BY day, amount)) FROM measure AS it))";

impl Guarded {
    async fn new() -> Self {
        let mut database = super::database().await;
        let owner = database.role("owner", "NOLOGIN").await;
        let app = database.role("app", "LOGIN").await;
        let mut superuser = PgConnection::connect(database.url()).await.unwrap();
        run(
            &mut superuser,
            &format!(
                "GRANT CREATE ON DATABASE {} TO {owner}; GRANT CREATE ON SCHEMA public TO {owner}; SET ROLE {owner}",
                database.url().rsplit('/').next().unwrap()
            ),
        )
        .await
        .unwrap();
        let guarded = Self {
            database,
            owner,
            app,
        };
        let builder = Audit::builder(guarded.owner_pool().await, "ledger");
        builder.migrate().await.unwrap();
        run(&mut superuser, TABLES).await.unwrap();
        run(
            &mut superuser,
            &format!(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {}",
                guarded.app
            ),
        )
        .await
        .unwrap();
        builder.grant(Some(&guarded.app), None).await.unwrap();
        guarded
    }

    /// Connects as a superuser and uses SET ROLE, as the owner may not connect.
    async fn owner_pool(&self) -> PgPool {
        let options: sqlx::postgres::PgConnectOptions = self.database.url().parse().unwrap();
        PgPool::connect_with(options.options([("role", &self.owner)]))
            .await
            .unwrap()
    }

    async fn connect(&self, who: Who) -> PgConnection {
        let url = match who {
            Who::App => self.database.url_as(&self.app),
            Who::Owner | Who::Superuser => self.database.url().to_owned(),
        };
        let mut connection = PgConnection::connect(&url).await.unwrap();
        if matches!(who, Who::Owner) {
            run(&mut connection, &format!("SET ROLE {}", self.owner))
                .await
                .unwrap();
        }
        connection
    }

    /// Runs `steps` on one connection of `who` until one fails, and returns its SQLSTATE.
    async fn attempt(&self, who: Who, steps: &[&str]) -> Option<String> {
        let mut connection = self.connect(who).await;
        let mut refused = None;
        for step in steps {
            let done = match step.split_once(" FROM STDIN: ") {
                Some((copy, data)) => copy_in(&mut connection, copy, data).await,
                None => run(&mut connection, step).await,
            };
            if let Err(error) = done {
                let error = error.into_database_error().expect("the database refused");
                let code = error.code().unwrap_or_default().into_owned();
                assert!(
                    code != "AU002"
                        || error.message().contains("public.")
                            && error.message().contains("record"),
                    "names neither the table nor the problem: {error}"
                );
                refused = Some(code);
                break;
            }
        }
        connection.close().await.unwrap();
        refused
    }

    async fn content(&self) -> String {
        let mut connection = self.connect(Who::Superuser).await;
        sqlx::query_scalar(CONTENT)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }

    async fn as_superuser(&self, statements: &str) {
        let mut connection = self.connect(Who::Superuser).await;
        run(&mut connection, statements).await.expect(statements);
    }

    /// Asserts that `steps` are refused because a record is missing, and change nothing; and that
    /// the same steps change something without the guard.
    async fn refuses(&self, who: Who, steps: &[&str]) {
        let before = self.content().await;
        let refused = self.attempt(who, steps).await;
        assert_eq!(refused.as_deref(), Some("AU002"), "{who:?}: {steps:?}");
        assert_eq!(self.content().await, before, "{who:?}: {steps:?}");
        self.unguard().await;
        let refused = self.attempt(who, steps).await;
        assert_eq!(refused, None, "refused without a guard: {who:?}: {steps:?}");
        assert_ne!(
            self.content().await,
            before,
            "changes nothing even without a guard: {who:?}: {steps:?}"
        );
    }

    async fn unguard(&self) {
        self.as_superuser(
            "SELECT ledger_audit.unguard(it, 'removed by the test') FROM unnest(ARRAY['entry', 'child', 'measure']::regclass[]) AS it",
        )
        .await;
    }

    /// Asserts that `steps` are committed.
    async fn accepts(&self, who: Who, steps: &[&str]) {
        let refused = self.attempt(who, steps).await;
        assert_eq!(refused, None, "{who:?}: {steps:?}");
    }
}

/// Returns the SQLSTATE with which `statement` is refused.
async fn refusal(connection: &mut PgConnection, statement: &str) -> String {
    let refused = run(connection, statement).await.expect_err(statement);
    let refused = refused.as_database_error().expect(statement);
    refused.code().expect(statement).into_owned()
}

async fn run(connection: &mut PgConnection, statements: &str) -> sqlx::Result<()> {
    let statements = AssertSqlSafe(statements.to_owned());
    sqlx::raw_sql(statements)
        .execute(connection)
        .await
        .map(drop)
}

async fn copy_in(connection: &mut PgConnection, copy: &str, data: &str) -> sqlx::Result<()> {
    let mut copy = connection
        .copy_in_raw(&format!("{copy} FROM STDIN"))
        .await?;
    copy.send(data.as_bytes()).await?;
    copy.finish().await.map(drop)
}

/// Writes a record with SQL.
const RECORD: &str = "SELECT ledger_audit.write_record(actor => 'ada', action => 'entry.repair', reason => 'a test')";
