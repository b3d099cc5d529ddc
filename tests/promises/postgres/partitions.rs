//! The monthly partitions.

use sqlx::{AssertSqlSafe, Row};

use super::cases::{Entry, Service};

async fn partitions(service: &Service) -> Vec<String> {
    sqlx::query("SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'ledger_audit.record'::regclass ORDER BY 1")
        .fetch_all(&service.pool)
        .await
        .unwrap()
        .iter()
        .map(|row| row.get("name"))
        .collect()
}

#[tokio::test]
async fn this_month_and_the_next_three_have_partitions() {
    let service = Service::start().await;
    let parts = partitions(&service).await;
    assert_eq!(parts.len(), 5, "{parts:?}");
    assert!(parts.contains(&"ledger_audit.record_default".to_owned()));
    service.send("/entries", &Entry::new(1)).await;
    assert_eq!(
        service
            .scalar("SELECT count(*) FROM ledger_audit.record_default")
            .await,
        0
    );
    // Called again, further ahead: only missing partitions are created.
    assert_eq!(
        service
            .scalar("SELECT ledger_audit.create_partitions(3)::bigint")
            .await,
        0
    );
    assert_eq!(
        service
            .scalar("SELECT ledger_audit.create_partitions(5)::bigint")
            .await,
        2
    );
}

/// The first record is that of guarding a table, before the service writes anything.
#[tokio::test]
async fn the_very_first_record_is_in_the_partition_of_its_month() {
    let database = super::database().await;
    let pool = sqlx::PgPool::connect(database.url()).await.unwrap();
    sqlx::query("CREATE TABLE entry (id int)")
        .execute(&pool)
        .await
        .unwrap();
    let audit = platform_audit::Audit::builder(pool.clone(), "ledger").guard(["entry"]);
    audit.migrate().await.unwrap();
    let counts: (i64, i64) = sqlx::query_as("SELECT (SELECT count(*) FROM ledger_audit.record), (SELECT count(*) FROM ledger_audit.record_default)")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(counts, (1, 0));
}

#[tokio::test]
async fn records_without_a_monthly_partition_go_to_the_default_partition() {
    let service = Service::start().await;
    for part in partitions(&service)
        .await
        .iter()
        .filter(|part| !part.ends_with("default"))
    {
        let drop = format!("DROP TABLE {part}");
        sqlx::query(AssertSqlSafe(drop))
            .execute(&service.pool)
            .await
            .unwrap();
    }
    assert_eq!(service.send("/entries", &Entry::new(1)).await.status(), 201);
    assert_eq!(
        service
            .scalar("SELECT count(*) FROM ledger_audit.record_default")
            .await,
        1
    );
    // A month with records in the default partition stays there; the other partitions are created.
    assert_eq!(
        service
            .scalar("SELECT ledger_audit.create_partitions(3)::bigint")
            .await,
        3
    );
    assert_eq!(service.send("/entries", &Entry::new(2)).await.status(), 201);
    assert_eq!(service.records().await, 2);
}

#[tokio::test]
async fn every_partition_is_append_only() {
    let service = Service::start().await;
    service.send("/entries", &Entry::new(1)).await;
    let parts = partitions(&service).await;
    for table in parts
        .iter()
        .map(String::as_str)
        .chain(["ledger_audit.record"])
    {
        for statement in [
            format!("TRUNCATE {table}"),
            format!("SET session_replication_role = replica; TRUNCATE {table}"),
        ] {
            let error = sqlx::raw_sql(AssertSqlSafe(statement.clone()))
                .execute(&service.pool)
                .await;
            let error = error.expect_err(&statement).into_database_error().unwrap();
            assert_eq!(
                error.code().as_deref(),
                Some("AU001"),
                "{statement}: {error}"
            );
        }
        for statement in ["UPDATE {} SET actor_id = 'eve'", "DELETE FROM {}"] {
            let statement = format!(
                "SET session_replication_role = replica; {}",
                statement.replace("{}", table)
            );
            let done = sqlx::raw_sql(AssertSqlSafe(statement.clone()))
                .execute(&service.pool)
                .await;
            if service
                .scalar(&format!("SELECT count(*) FROM {table}"))
                .await
                > 0
            {
                let error = done.expect_err(&statement).into_database_error().unwrap();
                assert_eq!(
                    error.code().as_deref(),
                    Some("AU001"),
                    "{statement}: {error}"
                );
            }
        }
    }
    assert_eq!(service.records().await, 1);
}

#[tokio::test]
async fn a_record_could_be_rewritten_without_its_trigger() {
    // So the refusals in the test above come from the triggers and nothing else.
    let service = Service::start().await;
    service.send("/entries", &Entry::new(1)).await;
    sqlx::raw_sql("ALTER TABLE ledger_audit.record DISABLE TRIGGER USER")
        .execute(&service.pool)
        .await
        .unwrap();
    let done = sqlx::raw_sql("UPDATE ledger_audit.record SET actor_id = 'eve'")
        .execute(&service.pool)
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 1);
}

#[tokio::test]
async fn concurrently_started_instances_migrate_once() {
    let service = Service::start().await;
    let starts = (0..8).map(|_| {
        platform_audit::Audit::builder(service.pool.clone(), "together")
            .development(true)
            .start()
    });
    for started in futures_util::future::join_all(starts).await {
        started.expect("each instance starts");
    }
}
