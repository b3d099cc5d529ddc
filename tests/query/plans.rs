//! Query plans on Postgres: each query is planned for its own arguments.

use platform_audit::query::{AuditQuery, AuditReader};
use platform_audit::{Actor, Audit};
use platform_harness::database::TestDatabase;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

/// A list in a single statement would be read and sorted as a whole, for a few of its newest
/// records.
#[tokio::test]
async fn a_page_of_several_values_reads_at_most_a_page_of_each_value() {
    let database = TestDatabase::postgres().await;
    let pool = PgPool::connect(database.url()).await.unwrap();
    Audit::builder(pool.clone(), "ledger")
        .migrate()
        .await
        .unwrap();
    // One record in twenty belongs to the two values queried.
    let written = "INSERT INTO ledger_audit.record (id, recorded_at, occurred_at, service, actor_kind, actor_id, action, resource_type, resource_id, outcome)
        SELECT ledger_audit.new_id(), now() - n * interval '1 second', now(), 'ledger', 'user', 'actor-' || which, 'entry.a' || which, 'entry', which, 'success'
        FROM generate_series(1, 30000) AS n, LATERAL (SELECT CASE WHEN n % 20 = 0 THEN n / 20 % 2 ELSE 2 END AS which) AS it";
    sqlx::query(written).execute(&pool).await.unwrap();
    sqlx::raw_sql("ANALYZE ledger_audit.record")
        .execute(&pool)
        .await
        .unwrap();
    let reader = AuditReader::new(pool, "ledger").unwrap();
    let reading = reader.read_as(Actor::system("test"));
    let all = || AuditQuery::new().limit(10);
    let mut resources = all().resource_type("entry");
    resources.resource_id = vec!["0".to_owned(), "1".to_owned()];
    for query in [
        all().actor("actor-0").actor("actor-1"),
        all().action("entry.a0").action("entry.a1"),
        resources,
    ] {
        let first = reading.page(&query, None).await.unwrap();
        for cursor in [None, first.next.as_ref()] {
            let plan = reading.explain(&query, cursor).await.unwrap();
            let most = plan.iter().filter_map(|line| rows(line)).max();
            assert!(most.unwrap() <= 50, "{query:?}: {plan:#?}");
        }
    }
}

/// The number of rows that a plan node returned or filtered out.
fn rows(line: &str) -> Option<u64> {
    let rows = match line.split_once("(actual ") {
        Some((_, actual)) => actual.split_once("rows=")?.1,
        None => line.split_once("Rows Removed by Filter: ")?.1,
    };
    rows.split([' ', '.']).next()?.parse().ok()
}

/// From the sixth execution of a prepared statement, Postgres may use a generic plan for average
/// arguments. A resource with most of the records would then be scanned as a whole for its newest
/// hundred.
#[tokio::test]
async fn no_prepared_statement_keeps_a_generic_plan() {
    let database = TestDatabase::postgres().await;
    let one = PgPoolOptions::new().max_connections(1);
    let pool: PgPool = one.connect(database.url()).await.unwrap();
    Audit::builder(pool.clone(), "ledger")
        .migrate()
        .await
        .unwrap();
    let reader = AuditReader::new(pool.clone(), "ledger").unwrap();
    let reading = reader.read_as(Actor::system("test"));
    for id in 0..8 {
        let query = AuditQuery::new().resource("entry", id.to_string());
        reading.page(&query, None).await.unwrap();
        reading.count(&query).await.unwrap();
    }
    let prepared: Vec<String> = sqlx::query_scalar("SELECT statement FROM pg_prepared_statements")
        .fetch_all(&pool)
        .await
        .unwrap();
    let prepared_reads = prepared.iter().filter(|it| it.contains("resource_id ="));
    assert_eq!(prepared_reads.count(), 0, "{prepared:?}");
    // Other statements are prepared: the list shows this connection.
    assert!(
        prepared
            .iter()
            .any(|it| it.contains("pg_prepared_statements"))
    );
}
