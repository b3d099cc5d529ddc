//! One view over the logs of many services.

use platform_audit::query::unite;
use platform_audit::{Audit, Error};
use sqlx::PgPool;

use super::cases::Log;

#[tokio::test]
async fn the_logs_of_all_services_are_one_view_for_the_reader() {
    let mut log = Log::empty().await;
    let role = log.database.role("compliance", "LOGIN").await;
    let write = async |service: &str| {
        Audit::builder(log.pool.clone(), service)
            .migrate()
            .await
            .unwrap();
        let written = format!(
            "SELECT {service}_audit.write_record(actor => 'ada', action => '{service}.write', reason => 'a test')"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(written))
            .execute(&log.pool)
            .await
            .unwrap();
    };
    write("ledger").await;
    write("identity").await;
    let united = unite(&log.pool, Some(&role)).await.unwrap();
    assert_eq!(united, ["identity_audit", "ledger_audit"]);
    let reader = PgPool::connect(&log.database.url_as(&role)).await.unwrap();
    let seen = async || -> Vec<(String, String)> {
        sqlx::query_as("SELECT audit_schema, action FROM compliance.audit_records ORDER BY 1, 2")
            .fetch_all(&reader)
            .await
            .unwrap()
    };
    let of = |service: &str| (format!("{service}_audit"), format!("{service}.write"));
    assert_eq!(seen().await, [of("identity"), of("ledger")]);
    write("billing").await;
    assert_eq!(
        seen().await.len(),
        2,
        "a new service waits for the next call"
    );
    // Who may read it still may, and what is built on it stays.
    let built = "CREATE VIEW public.mine AS SELECT action FROM compliance.audit_records";
    sqlx::raw_sql(built).execute(&log.pool).await.unwrap();
    unite(&log.pool, None).await.unwrap();
    assert_eq!(seen().await, [of("billing"), of("identity"), of("ledger")]);
    // A log that is marked and cannot be read would be missing, and nobody would know.
    let broken = "CREATE SCHEMA \"Old audit\"; COMMENT ON SCHEMA \"Old audit\" IS 'platform-audit'";
    sqlx::raw_sql(broken).execute(&log.pool).await.unwrap();
    let refused = unite(&log.pool, None).await.unwrap_err();
    assert!(matches!(refused, Error::MissingRecordsView(_)), "{refused}");
    assert!(refused.to_string().contains("\"Old audit\""), "{refused}");
    sqlx::raw_sql("COMMENT ON SCHEMA \"Old audit\" IS NULL")
        .execute(&log.pool)
        .await
        .unwrap();
    assert_eq!(unite(&log.pool, None).await.unwrap().len(), 3);
    let unknown = unite(&log.pool, Some("nobody\"; DROP")).await.unwrap_err();
    assert!(matches!(unknown, Error::UnknownRole(_)), "{unknown}");
    assert!(
        unite(&reader, None).await.is_err(),
        "the reader makes no views"
    );
    assert_eq!(seen().await.len(), 3);
}
