//! What the reader role may, and may not.

use platform_audit::query::{AuditQuery, AuditReader};
use platform_audit::{Actor, Audit};
use sqlx::{AssertSqlSafe, PgPool};

use super::cases::{Log, record};
use super::insert;

#[tokio::test]
async fn the_reader_role_reads_the_views_and_writes_its_readings_alone() {
    let mut log = Log::empty().await;
    insert(&log.pool, &record(1)).await;
    let role = log.database.role("compliance", "LOGIN").await;
    Audit::new(log.pool.clone(), "ledger")
        .grant(None, Some(&role))
        .await
        .unwrap();
    let pool = PgPool::connect(&log.database.url_as(&role)).await.unwrap();
    let reading = AuditReader::new(pool.clone(), "ledger")
        .unwrap()
        .asked_by(Actor::user("grace"));
    let page = reading.page(&AuditQuery::new(), None).await.unwrap();
    assert_eq!(page.records.len(), 1);
    let readings = AuditQuery::new().action("audit.read");
    let told = reading.page(&readings, None).await.unwrap().records;
    assert_eq!(told[0].actor.id, "grace");
    assert_eq!(told[0].details["database_user"], role);

    let run = async |statement: &str| {
        let statement = AssertSqlSafe(statement.to_owned());
        sqlx::raw_sql(statement).execute(&pool).await
    };
    for view in ["records", "changes", "attempts", "activity", "readings"] {
        run(&format!("SELECT * FROM ledger_audit.{view}"))
            .await
            .unwrap();
        // As `\d+` shows it to whoever asks with psql.
        let said = format!("SELECT obj_description('ledger_audit.{view}'::regclass, 'pg_class')");
        let said: Option<String> = sqlx::query_scalar(AssertSqlSafe(said))
            .fetch_one(&pool)
            .await
            .unwrap();
        assert!(said.is_some(), "{view} says not what it shows");
    }
    let (answer, records, complete): (String, i64, Option<bool>) = sqlx::query_as(
        "SELECT answer, records, complete FROM ledger_audit.readings ORDER BY recorded_at LIMIT 1",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!((answer.as_str(), records, complete), ("page", 1, None));
    for statement in [
        "SELECT * FROM ledger_audit.record",
        "INSERT INTO ledger_audit.record (id) VALUES (gen_random_uuid())",
        "INSERT INTO ledger_audit.records (id) VALUES (gen_random_uuid())",
        "UPDATE ledger_audit.records SET actor_id = 'eve'",
        "DELETE FROM ledger_audit.records",
        "SELECT ledger_audit.write_record(actor => 'eve', action => 'entry.create', reason => 'x')",
        "SELECT ledger_audit.maintain(1)",
    ] {
        let refused = run(statement).await.unwrap_err();
        let code = refused.as_database_error().unwrap().code().unwrap();
        assert!(["42501", "55000"].contains(&&*code), "{statement}: {code}");
    }
    // Nothing that it claims breaks the view for the others.
    run("SELECT ledger_audit.record_read('{\"id\": \"00000000-0000-0000-0000-000000000008\", \"occurred_at\": \"2026-01-01T00:00:00Z\",
        \"service\": \"ledger\", \"actor_kind\": \"user\", \"actor_id\": \"eve\",
        \"details\": {\"records\": \"[cut]\", \"complete\": \"x\", \"continued\": 7}}')")
        .await
        .unwrap();
    run("SELECT * FROM ledger_audit.readings").await.unwrap();
    // Of what it claims in a reading, what makes another record does not count.
    run("SELECT ledger_audit.record_read('{\"id\": \"00000000-0000-0000-0000-000000000009\", \"occurred_at\": \"2026-01-01T00:00:00Z\",
        \"service\": \"ledger\", \"actor_kind\": \"user\", \"actor_id\": \"eve\", \"action\": \"entry.create\", \"outcome\": \"denied\",
        \"resource_type\": \"entry\", \"changes\": {\"amount\": {\"after\": 1}}}')")
        .await
        .unwrap();
    let forged = reading
        .find(uuid::Uuid::from_u128(9))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(forged.action, "audit.read");
    assert_eq!(forged.resource_type.as_deref(), Some("audit_record"));
    assert!(forged.changes.is_empty());
    for missing in ["{}", "{\"actor_id\": \"\"}"] {
        assert!(
            run(&format!("SELECT ledger_audit.record_read('{missing}')"))
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn nothing_is_handed_out_if_the_reading_cannot_be_recorded() {
    let log = Log::empty().await;
    insert(&log.pool, &record(1)).await;
    sqlx::raw_sql("DROP FUNCTION ledger_audit.record_read")
        .execute(&log.pool)
        .await
        .unwrap();
    let reading = AuditReader::new(log.pool.clone(), "ledger")
        .unwrap()
        .asked_by(Actor::user("grace"));
    let refused = reading.page(&AuditQuery::new(), None).await.unwrap_err();
    assert!(
        matches!(refused, platform_audit::Error::Reading(_)),
        "{refused}"
    );
}

#[tokio::test]
async fn whoever_was_shown_records_is_not_told_that_nothing_is_shown() {
    let log = Log::with(&[record(1)]).await;
    let query = AuditQuery::new().actor("ada");
    let mut export = log.reading.export(&query, None).await.unwrap();
    assert_eq!(export.next_page().await.unwrap().unwrap().len(), 1);
    sqlx::raw_sql("DROP FUNCTION ledger_audit.record_read")
        .execute(&log.pool)
        .await
        .unwrap();
    let error = export.end(true).await.unwrap_err();
    assert!(
        matches!(error, platform_audit::Error::ReadingEnd(_)),
        "{error}"
    );
    assert!(
        error.to_string().starts_with("records were handed out"),
        "{error}"
    );
}
