//! One view over the logs of all services.

use platform_audit::query::create_union_view;
use platform_audit::{Audit, Error};
use sqlx::PgPool;

use super::cases::Log;

#[tokio::test]
async fn the_union_view_contains_the_logs_of_all_services() {
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
    let schemas = create_union_view(&log.pool, Some(&role)).await.unwrap();
    assert_eq!(schemas, ["identity_audit", "ledger_audit"]);
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
        "a new service is added by the next call"
    );
    // Existing grants and dependent views are kept.
    let built = "CREATE VIEW public.mine AS SELECT action FROM compliance.audit_records";
    sqlx::raw_sql(built).execute(&log.pool).await.unwrap();
    create_union_view(&log.pool, None).await.unwrap();
    assert_eq!(seen().await, [of("billing"), of("identity"), of("ledger")]);
    // A marked schema without records would be silently missing from the view.
    let broken = "CREATE SCHEMA \"Old audit\"; COMMENT ON SCHEMA \"Old audit\" IS 'platform-audit'";
    sqlx::raw_sql(broken).execute(&log.pool).await.unwrap();
    let refused = create_union_view(&log.pool, None).await.unwrap_err();
    assert!(matches!(refused, Error::MissingRecordsView(_)), "{refused}");
    assert!(refused.to_string().contains("\"Old audit\""), "{refused}");
    sqlx::raw_sql("COMMENT ON SCHEMA \"Old audit\" IS NULL")
        .execute(&log.pool)
        .await
        .unwrap();
    assert_eq!(create_union_view(&log.pool, None).await.unwrap().len(), 3);
    let unknown = create_union_view(&log.pool, Some("nobody\"; DROP"))
        .await
        .unwrap_err();
    assert!(matches!(unknown, Error::UnknownRole(_)), "{unknown}");
    assert!(
        create_union_view(&reader, None).await.is_err(),
        "the reader role must not create views"
    );
    assert_eq!(seen().await.len(), 3);
}
