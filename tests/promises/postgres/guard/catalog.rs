//! The check compares the audit schema with the result of the migrations. It finds each of many
//! generated changes.

mod harms;

use std::fmt::Write as _;

use platform_audit::Audit;
use platform_audit::check::{FindingKind, Report};
use platform_harness::database::TestDatabase;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use harms::harms;

const CATALOG: &str = include_str!("../../../../platform-audit/src/store/postgres/catalog.sql");
const EXPECTED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../platform-audit/src/store/postgres/expected.json"
);

/// An audit schema as documented, and an unrelated role.
struct Log {
    database: TestDatabase,
    schema: &'static str,
    owner: String,
    app: String,
    reader: String,
    stranger: String,
    superuser: PgConnection,
}

impl Log {
    async fn new(schema: &'static str) -> Self {
        let mut database = TestDatabase::postgres().await;
        let owner = database.role("owner", "NOLOGIN").await;
        let app = database.role("app", "LOGIN").await;
        let reader = database.role("reader", "LOGIN").await;
        let stranger = database.role("stranger", "LOGIN").await;
        let mut superuser = PgConnection::connect(database.url()).await.unwrap();
        let create = format!("CREATE SCHEMA {schema} AUTHORIZATION {owner}");
        sqlx::raw_sql(AssertSqlSafe(create))
            .execute(&mut superuser)
            .await
            .unwrap();
        let log = Self {
            database,
            schema,
            owner,
            app,
            reader,
            stranger,
            superuser,
        };
        let options: sqlx::postgres::PgConnectOptions = log.database.url().parse().unwrap();
        let as_owner = options.options([("role", &log.owner)]);
        let pool = PgPool::connect_with(as_owner).await.unwrap();
        let audit = Audit::builder(pool, "ledger").schema(schema);
        audit.migrate().await.unwrap();
        audit
            .grant(Some(&log.app), Some(&log.reader))
            .await
            .unwrap();
        log
    }

    async fn check(&self) -> Report {
        let pool = PgPool::connect(self.database.url()).await.unwrap();
        let audit = Audit::builder(pool, "ledger")
            .schema(self.schema)
            .app_role(&self.app);
        audit.check().await.unwrap()
    }

    async fn run(&mut self, statement: &str) -> sqlx::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&mut self.superuser)
            .await
            .map(drop)
    }

    async fn rows(&mut self) -> Vec<Value> {
        self.run(
            "BEGIN; SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'",
        )
        .await
        .unwrap();
        let text: String =
            sqlx::query_scalar(AssertSqlSafe(CATALOG.replace("{schema}", self.schema)))
                .fetch_one(&mut self.superuser)
                .await
                .unwrap();
        self.run("COMMIT").await.unwrap();
        let mut catalog: Value = serde_json::from_str(&text).unwrap();
        let Value::Array(rows) = catalog["rows"].take() else {
            panic!("{text}")
        };
        rows
    }
}

/// With `PLATFORM_WRITE_EXPECTED` set, writes the file instead: do that after changing a migration,
/// and review the diff before committing it.
#[tokio::test]
async fn the_expected_schema_is_the_result_of_the_migrations() {
    let mut log = Log::new("schema_of_the_expected_state").await;
    let month: String = sqlx::query_scalar("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')")
        .fetch_one(&mut log.superuser)
        .await
        .unwrap();
    let (from, to): (String, String) = sqlx::query_as(
        "SELECT to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00', to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00'
         FROM date_trunc('month', now() AT TIME ZONE 'UTC') AS month",
    )
    .fetch_one(&mut log.superuser)
    .await
    .unwrap();
    let partition = format!("record_{month}");
    let is_of_another_month = |text: &str| {
        let mut rest = text;
        while let Some(at) = rest.find("record_2") {
            rest = &rest[at..];
            if !rest.starts_with(&partition) {
                return true;
            }
            rest = &rest[1..];
        }
        false
    };
    let mut made = Vec::new();
    for row in log.rows().await {
        if is_of_another_month(row["object"].as_str().unwrap()) {
            continue;
        }
        let fill = |text: &str| {
            let text = text
                .replace(log.schema, "{schema}")
                .replace(&log.owner, "{owner}")
                .replace(&log.app, "{app}")
                .replace(&log.reader, "{reader}")
                .replace(&partition, "{partition}");
            if row["object"].as_str().unwrap().contains(&partition) {
                text.replace(&from, "{from}").replace(&to, "{to}")
            } else {
                text
            }
        };
        let field = |name: &str| fill(row[name].as_str().unwrap());
        // The order of fields must not depend on the features of serde_json.
        let mut it = format!(
            r#"{{"kind":{},"object":{},"definition":{}"#,
            row["kind"],
            Value::from(field("object")),
            Value::from(field("definition"))
        );
        let wholes = row["part_of"].as_array().unwrap();
        if !wholes.is_empty() {
            let wholes: Value = wholes.iter().map(|it| fill(it.as_str().unwrap())).collect();
            write!(it, r#","part_of":{wholes}"#).unwrap();
        }
        if row["kind"] != "privilege" {
            write!(it, r#","fix":{}"#, Value::from(field("fix"))).unwrap();
        }
        it.push('}');
        made.push(it);
    }
    let mut text = String::from("[\n");
    for (at, row) in made.iter().enumerate() {
        writeln!(text, "{row}{}", if at + 1 < made.len() { "," } else { "" }).unwrap();
    }
    text.push_str("]\n");
    if std::env::var_os("PLATFORM_WRITE_EXPECTED").is_some() {
        std::fs::write(EXPECTED, text).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(EXPECTED).unwrap();
    for (made, expected) in text.lines().zip(expected.lines()) {
        assert_eq!(made, expected);
    }
    assert_eq!(text.lines().count(), expected.lines().count());
}

/// Applies the remedies until the check finds nothing, as an administrator would.
async fn apply_remedies(log: &mut Log) -> bool {
    for _ in 0..6 {
        let report = log.check().await;
        if report.is_clean() {
            return true;
        }
        for finding in &report.findings {
            let remedy = finding.remedy.replace("the_owner_role", &log.owner);
            // Some depend on others, such as those for objects that CASCADE dropped.
            drop(log.run(&remedy).await);
        }
    }
    false
}

async fn finds_each(part: usize, of: usize) {
    let mut log = Log::new("ledger_audit").await;
    let report = log.check().await;
    assert!(report.is_clean(), "{report}");
    let mut made = 0;
    let mut unrepaired = Vec::new();
    for at in (part..).step_by(of) {
        let rows = log.rows().await;
        let Some((label, batch)) = harms(&log, &rows).into_iter().nth(at) else {
            break;
        };
        let mut applied = Vec::new();
        for harm in batch {
            // Not every kind of change is possible for every object.
            if log.run(&harm.statement).await.is_ok() {
                applied.push(harm);
            } else {
                log.run("ROLLBACK").await.unwrap();
            }
        }
        assert!(
            !applied.is_empty(),
            "{label}: no change of this kind is possible"
        );
        let report = log.check().await;
        for harm in &applied {
            let object = harm.object.as_str();
            let named = |text: &str| {
                text.contains(object) || object.contains(text) && text.contains(log.schema)
            };
            let found = report.findings.iter().any(|it| {
                named(&it.object)
                    || it.message.contains(object)
                    || it.kind == FindingKind::AppOwnsSchema
            });
            assert!(found, "{label}: {} is not found: {report}", harm.statement);
        }
        for finding in &report.findings {
            assert!(!finding.remedy.is_empty(), "{label}: {finding:?}");
        }
        made += applied.len();
        if !apply_remedies(&mut log).await {
            unrepaired.push(label);
            log = Log::new("ledger_audit").await;
        }
    }
    assert!(made >= 300, "only {made} changes were possible");
    // The remedies cannot rename a column back, or revoke default privileges.
    let by_hand = ["a renamed column", "an unexpected object"];
    unrepaired.retain(|label| !by_hand.contains(label));
    assert!(
        unrepaired.is_empty(),
        "not repaired by the remedies: {unrepaired:?}"
    );
}

#[tokio::test]
async fn every_change_of_the_audit_schema_is_found_1() {
    finds_each(0, 4).await;
}
#[tokio::test]
async fn every_change_of_the_audit_schema_is_found_2() {
    finds_each(1, 4).await;
}
#[tokio::test]
async fn every_change_of_the_audit_schema_is_found_3() {
    finds_each(2, 4).await;
}
#[tokio::test]
async fn every_change_of_the_audit_schema_is_found_4() {
    finds_each(3, 4).await;
}
