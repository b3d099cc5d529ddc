//! Privileges of the reader role.

use platform_audit::query::{AuditQuery, AuditReader};
use platform_audit::{Actor, Audit};
use sqlx::{AssertSqlSafe, PgPool};

use super::cases::{Log, record};
use super::insert;

#[tokio::test]
async fn the_reader_role_can_only_read_the_views_and_record_its_reads() {
    let mut log = Log::empty().await;
    insert(&log.pool, &record(1)).await;
    let role = log.database.role("compliance", "LOGIN").await;
    Audit::builder(log.pool.clone(), "ledger")
        .grant(None, Some(&role))
        .await
        .unwrap();
    let pool = PgPool::connect(&log.database.url_as(&role)).await.unwrap();
    let reading = AuditReader::new(pool.clone(), "ledger")
        .unwrap()
        .read_as(Actor::user("grace"));
    let page = reading.page(&AuditQuery::new(), None).await.unwrap();
    assert_eq!(page.records.len(), 1);
    let readings = AuditQuery::new().action("audit.read");
    let recorded = reading.page(&readings, None).await.unwrap().records;
    assert_eq!(recorded[0].actor.id, "grace");
    assert_eq!(recorded[0].details["database_user"], role);

    let run = async |statement: &str| {
        let statement = AssertSqlSafe(statement.to_owned());
        sqlx::raw_sql(statement).execute(&pool).await
    };
    for view in ["records", "changes", "attempts", "activity", "readings"] {
        run(&format!("SELECT * FROM ledger_audit.{view}"))
            .await
            .unwrap();
        // The comment that `\d+` shows in psql.
        let comment =
            format!("SELECT obj_description('ledger_audit.{view}'::regclass, 'pg_class')");
        let comment: Option<String> = sqlx::query_scalar(AssertSqlSafe(comment))
            .fetch_one(&pool)
            .await
            .unwrap();
        assert!(comment.is_some(), "{view} has no comment");
    }
    let (kind, records, complete): (String, i64, Option<bool>) = sqlx::query_as(
        "SELECT kind, records, complete FROM ledger_audit.readings ORDER BY recorded_at LIMIT 1",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!((kind.as_str(), records, complete), ("page", 1, None));
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
    // Malformed details in a recorded read do not break the view for others.
    let claim = |members: serde_json::Value| {
        let mut claim =
            serde_json::json!({"service": "ledger", "actor_kind": "user", "actor_id": "eve"});
        let all = claim.as_object_mut().unwrap();
        all.extend(members.as_object().unwrap().clone());
        format!("SELECT ledger_audit.record_read('{claim}')")
    };
    run(&claim(serde_json::json!({"details": {"records": "[cut]", "complete": "x", "continued": 7, "settled": []}})))
        .await
        .unwrap();
    run("SELECT * FROM ledger_audit.readings").await.unwrap();
    for malformed in [
        serde_json::json!({"details": [1]}),
        serde_json::json!({"details": null, "cut": {"a": 1}}),
        serde_json::json!({"cut": [1]}),
        serde_json::json!({"cut": "path"}),
    ] {
        let refused = run(&claim(malformed)).await.unwrap_err();
        assert_eq!(
            refused.as_database_error().unwrap().code().unwrap(),
            "22023"
        );
    }
    // Attributes that would make it another kind of record, or hide another record, are ignored.
    let forged = claim(serde_json::json!({
        "id": uuid::Uuid::from_u128(1), "occurred_at": "infinity", "action": "entry.create", "outcome": "denied",
        "resource_type": "entry", "changes": {"amount": {"after": 1}}, "reason": "forged",
    }));
    run(&forged).await.unwrap();
    let first = reading.find(uuid::Uuid::from_u128(1)).await.unwrap();
    assert_eq!(first.unwrap().actor.id, "ada");
    let query = AuditQuery::new().actor("eve").limit(1);
    let page = reading.page(&query, None).await.unwrap();
    let forged = &page.records[0];
    assert_eq!(forged.reason.as_deref(), Some("forged"));
    assert_eq!(forged.action, "audit.read");
    assert_eq!(forged.resource_type.as_deref(), Some("audit_record"));
    assert!(forged.changes.is_empty());
    assert_eq!(forged.id.get_version_num(), 7);
    assert!(forged.occurred_at > "2026-01-01T00:00:00Z".parse().unwrap());
    for missing in ["{}", "{\"actor_id\": \"\"}"] {
        assert!(
            run(&format!("SELECT ledger_audit.record_read('{missing}')"))
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn nothing_is_returned_if_the_read_cannot_be_recorded() {
    let log = Log::empty().await;
    insert(&log.pool, &record(1)).await;
    sqlx::raw_sql("DROP FUNCTION ledger_audit.record_read")
        .execute(&log.pool)
        .await
        .unwrap();
    let reading = AuditReader::new(log.pool.clone(), "ledger")
        .unwrap()
        .read_as(Actor::user("grace"));
    let refused = reading.page(&AuditQuery::new(), None).await.unwrap_err();
    assert!(
        matches!(refused, platform_audit::Error::ReadNotRecorded(_)),
        "{refused}"
    );
}

#[tokio::test]
async fn the_error_of_an_export_that_cannot_be_recorded_says_that_records_were_handed_out() {
    let log = Log::with(&[record(1)]).await;
    let query = AuditQuery::new().actor("ada");
    let mut export = log.reading.export(&query, None).await.unwrap();
    assert_eq!(export.next_page().await.unwrap().unwrap().len(), 1);
    sqlx::raw_sql("DROP FUNCTION ledger_audit.record_read")
        .execute(&log.pool)
        .await
        .unwrap();
    let error = export.finish(true).await.unwrap_err();
    assert!(
        matches!(error, platform_audit::Error::ReadCountNotRecorded(_)),
        "{error}"
    );
    assert!(
        error.to_string().starts_with("records were returned"),
        "{error}"
    );
}

#[tokio::test]
async fn a_duplicate_id_is_returned_twice_across_months_and_refused_within_a_month() {
    let log = Log::with(&[record(1)]).await;
    let id = uuid::Uuid::from_u128(1);
    let again = "INSERT INTO ledger_audit.record (id, recorded_at, occurred_at, service, actor_kind, actor_id, action, outcome) SELECT id, $1::timestamptz, occurred_at, service, actor_kind, 'eve', action, outcome FROM ledger_audit.record WHERE actor_id = 'ada'";
    let write = async |recorded_at: &str| {
        let written = sqlx::query(again).bind(recorded_at);
        written.execute(&log.pool).await
    };
    let is_repeated = |refused: sqlx::Error| {
        let code = refused.as_database_error().unwrap().code();
        assert_eq!(code.as_deref(), Some("23505"));
    };
    let now = jiff::Timestamp::now().to_string();
    // In the default partition, and in this month's.
    is_repeated(write("2025-01-02").await.unwrap_err());
    write(&now).await.unwrap();
    is_repeated(write(&now).await.unwrap_err());
    let found = log.reading.find_all(id).await.unwrap();
    let actors: Vec<_> = found.iter().map(|it| it.actor.id.as_str()).collect();
    assert_eq!(actors, ["ada", "eve"], "oldest first");
    let found = log.reading.find(id).await.unwrap();
    assert_eq!(found.unwrap().actor.id, "ada");
    let audit = Audit::builder(log.pool.clone(), "ledger").development(true);
    let audit = audit.start().await.unwrap();
    let events = platform_harness::events::capture();
    let found = audit.record(id).await.unwrap();
    assert_eq!(found.unwrap().actor.id, "ada");
    let events = events.text();
    assert!(events.contains("several audit records"), "{events}");
}

/// A role with only read access could otherwise fill the log.
#[tokio::test]
async fn the_reads_that_a_reader_can_record_are_rate_limited() {
    let mut log = Log::empty().await;
    let role = log.database.role("compliance", "LOGIN").await;
    let audit = Audit::builder(log.pool.clone(), "ledger");
    audit.grant(None, Some(&role)).await.unwrap();
    let pool = PgPool::connect(&log.database.url_as(&role)).await.unwrap();
    let read = async |times: u32| {
        let statement = format!(
            "SELECT count(ledger_audit.record_read(jsonb_build_object('service', 'ledger', 'actor_kind', 'user', 'actor_id', 'eve', 'reason', i::text))) FROM generate_series(1, {times}) AS i"
        );
        let statement = AssertSqlSafe(statement);
        sqlx::query_scalar::<_, i64>(statement)
            .fetch_one(&pool)
            .await
    };
    assert_eq!(read(1_199).await.unwrap(), 1_199);
    assert_eq!(read(1).await.unwrap(), 1);
    let refused = read(1).await.unwrap_err();
    let code = refused.as_database_error().unwrap().code().unwrap();
    assert_eq!(code, "AU004");
    let reading = AuditReader::new(pool, "ledger").unwrap();
    let refused = reading.read_as(Actor::user("eve"));
    let refused = refused.page(&AuditQuery::new(), None).await.unwrap_err();
    assert!(
        matches!(refused, platform_audit::Error::ReadNotRecorded(_)),
        "a read that is not recorded returns nothing: {refused}"
    );
    assert!(refused.to_string().contains("wait a minute"), "{refused}");
    // Other roles are not affected.
    let page = log.reading.page(&AuditQuery::new(), None).await;
    assert_eq!(page.unwrap().records.len(), 100);
}

#[tokio::test]
async fn a_recorded_read_with_invalid_request_facts_is_refused() {
    let mut log = Log::empty().await;
    let role = log.database.role("compliance", "LOGIN").await;
    let audit = Audit::builder(log.pool.clone(), "ledger");
    audit.grant(None, Some(&role)).await.unwrap();
    let pool = PgPool::connect(&log.database.url_as(&role)).await.unwrap();
    for (field, value) in [
        ("service", "payroll"),
        ("method", "GET THIS"),
        ("method", &"X".repeat(33)),
        ("route", &"/".repeat(513)),
        ("path", "anything at all"),
        ("path", &"/".repeat(1025)),
        ("client_address", "the moon"),
        ("trace_id", "1"),
        ("span_id", "1"),
        ("actor_id", &"x".repeat(257)),
        ("actor_session", &"x".repeat(257)),
        ("actor_tenant", &"x".repeat(257)),
        ("actor_on_behalf_of", &"x".repeat(257)),
        ("reason", &"x".repeat(1025)),
        ("request_id", &"x".repeat(129)),
        ("user_agent", &"x".repeat(513)),
    ] {
        let mut claim =
            serde_json::json!({"service": "ledger", "actor_kind": "user", "actor_id": "eve"});
        claim[field] = value.into();
        let statement = format!("SELECT ledger_audit.record_read('{claim}')");
        let refused = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&pool).await;
        let refused = refused.expect_err(field);
        let code = refused.as_database_error().unwrap().code().unwrap();
        assert_eq!(code, "22023", "{field}: {refused}");
    }
    let details = |bytes: usize| {
        format!(
            "SELECT ledger_audit.record_read(jsonb_build_object('service', 'ledger', 'actor_kind', 'user', 'actor_id', 'eve', 'details', jsonb_build_object('note', repeat('x', {bytes}))))"
        )
    };
    let claim = async |bytes| {
        sqlx::raw_sql(AssertSqlSafe(details(bytes)))
            .execute(&pool)
            .await
    };
    claim(32_000).await.unwrap();
    let refused = claim(32_768).await.unwrap_err();
    let code = refused.as_database_error().unwrap().code().unwrap();
    assert_eq!(code, "22001", "{refused}");
}
