//! How Postgres is asked: each question is planned for what it asks.

use platform_audit::query::{AuditQuery, AuditReader};
use platform_audit::{Actor, Audit};
use platform_tests::database::TestDatabase;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

/// Postgres plans a statement that it keeps for arguments as they are on average, from its sixth
/// use on: the resource that has most of the records would be read whole for its newest hundred.
#[tokio::test]
async fn no_plan_is_kept_from_one_question_to_the_next() {
    let database = TestDatabase::postgres().await;
    let one = PgPoolOptions::new().max_connections(1);
    let pool: PgPool = one.connect(database.url()).await.unwrap();
    Audit::new(pool.clone(), "ledger").migrate().await.unwrap();
    let reader = AuditReader::new(pool.clone(), "ledger").unwrap();
    let reading = reader.asked_by(Actor::system("test"));
    for id in 0..8 {
        let query = AuditQuery::new().resource("entry", id.to_string());
        reading.page(&query, None).await.unwrap();
        reading.count(&query).await.unwrap();
    }
    let kept: Vec<String> = sqlx::query_scalar("SELECT statement FROM pg_prepared_statements")
        .fetch_all(&pool)
        .await
        .unwrap();
    let kept_to_read = kept.iter().filter(|it| it.contains("resource_id ="));
    assert_eq!(kept_to_read.count(), 0, "{kept:?}");
    // Which the others are: the list is of this connection.
    assert!(kept.iter().any(|it| it.contains("pg_prepared_statements")));
}
