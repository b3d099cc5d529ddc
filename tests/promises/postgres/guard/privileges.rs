//! The privileges of the three roles, and services without the privilege to migrate.

use platform_audit::check::FindingKind;
use platform_audit::{Actor, Audit, AuditTx, Error};
use sqlx::{PgPool, Row};

use super::Who::{App, Owner, Superuser};
use super::{Guarded, RECORD, refusal, run};

async fn app_pool(guarded: &Guarded) -> PgPool {
    PgPool::connect(&guarded.database.url_as(&guarded.app))
        .await
        .unwrap()
}

#[tokio::test]
async fn each_role_has_exactly_its_privileges() {
    let mut guarded = Guarded::new().await;
    let reader = guarded.database.role("reader", "LOGIN").await;
    Audit::builder(guarded.owner_pool().await, "ledger")
        .grant(None, Some(&reader))
        .await
        .unwrap();
    let mut connection = guarded.connect(Superuser).await;
    let rows = sqlx::query(
        "SELECT role, relname::text, string_agg(privilege, ' ' ORDER BY privilege) FROM pg_class,
            unnest(ARRAY[$1, $2]) AS role,
            unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
         WHERE relnamespace = 'ledger_audit'::regnamespace AND relkind IN ('r', 'p', 'v') AND has_table_privilege(role, pg_class.oid, privilege)
         GROUP BY 1, 2 ORDER BY 1, 2",
    )
    .bind(&guarded.app)
    .bind(&reader)
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let privileges: Vec<(String, String, String)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    let expected: Vec<(String, String, String)> = [
        (&guarded.app, "checkpoint", "INSERT SELECT"),
        (&guarded.app, "exemption", "SELECT"),
        (&guarded.app, "log_entry", "INSERT SELECT"),
        (&guarded.app, "migration", "SELECT"),
        (&guarded.app, "record", "SELECT"),
        (&guarded.app, "record_insert", "INSERT"),
        (&guarded.app, "records", "SELECT"),
        (&guarded.app, "seal", "INSERT SELECT"),
        (&guarded.app, "sealed_record", "SELECT"),
        (&guarded.app, "service", "SELECT"),
        (&guarded.app, "tile", "INSERT SELECT"),
        (&guarded.app, "tree", "SELECT UPDATE"),
        (&reader, "activity", "SELECT"),
        (&reader, "attempts", "SELECT"),
        (&reader, "changes", "SELECT"),
        (&reader, "checkpoint", "SELECT"),
        (&reader, "log_entry", "SELECT"),
        (&reader, "readings", "SELECT"),
        (&reader, "records", "SELECT"),
        (&reader, "seal", "SELECT"),
        (&reader, "sealed_record", "SELECT"),
        (&reader, "tile", "SELECT"),
        (&reader, "tree", "SELECT"),
    ]
    .map(|(role, table, right)| (role.clone(), table.to_owned(), right.to_owned()))
    .into();
    assert_eq!(privileges, expected);

    // The view has every column of a record except those that the database sets, and no role may
    // write a column of the table itself.
    let columns: Vec<(String, bool, bool)> = sqlx::query_as(
        "SELECT attname::text,
            EXISTS (SELECT FROM pg_attribute AS of_view WHERE of_view.attrelid = 'ledger_audit.record_insert'::regclass AND of_view.attname = of_table.attname),
            has_column_privilege($1, attrelid, attnum, 'INSERT, UPDATE')
         FROM pg_attribute AS of_table WHERE attrelid = 'ledger_audit.record'::regclass AND attnum > 0 ORDER BY attnum",
    )
    .bind(&guarded.app)
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let kept_back = columns.iter().filter(|(_, in_view, _)| !in_view);
    let kept_back: Vec<_> = kept_back.map(|(name, ..)| name.as_str()).collect();
    assert_eq!(kept_back, ["xid", "recorded_at"]);
    assert!(columns.iter().all(|(.., writes)| !writes), "{columns:?}");

    let callable: Vec<String> = sqlx::query_scalar(
        "SELECT proname::text FROM pg_proc WHERE pronamespace = 'ledger_audit'::regnamespace
            AND has_function_privilege($1, oid, 'EXECUTE') ORDER BY proname",
    )
    .bind(&guarded.app)
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(
        callable,
        [
            "empty_array",
            "empty_object",
            "guard_triggers",
            "maintain",
            "may_set_replication_role",
            "new_id",
            "qualified",
            "record_read",
            "set_guard_partition",
            "transaction_ended",
            "write_record"
        ]
    );
}

#[tokio::test]
async fn a_service_without_the_privilege_to_migrate_starts_and_works() {
    let guarded = Guarded::new().await;
    guarded
        .accepts(Owner, &["SELECT ledger_audit.guard('measure')"])
        .await;
    let audit = Audit::builder(app_pool(&guarded).await, "ledger")
        .start()
        .await
        .expect("the database has no findings, so the service starts without `development`");
    let before = guarded.content().await;
    audit
        .transaction(
            Actor::system("job"),
            "entry.add",
            async |tx: &mut AuditTx| {
                sqlx::query("INSERT INTO entry VALUES (3, 30)")
                    .execute(&mut *tx)
                    .await?;
                Ok::<_, sqlx::Error>(())
            },
        )
        .await
        .unwrap();
    assert_ne!(guarded.content().await, before);
}

/// Not a privilege that every record needs, which `check.sql` checks.
#[tokio::test]
async fn a_single_privilege_that_the_service_lacks_is_found_and_granted_again() {
    let guarded = Guarded::new().await;
    guarded
        .accepts(Owner, &["SELECT ledger_audit.guard('measure')"])
        .await;
    let audit = Audit::builder(guarded.owner_pool().await, "ledger").app_role(&guarded.app);
    let revoke = format!("REVOKE SELECT ON ledger_audit.service FROM {}", guarded.app);
    guarded.as_superuser(&revoke).await;
    let report = audit.check().await.unwrap();
    let [finding] = &report.findings[..] else {
        panic!("{report}")
    };
    assert_eq!(finding.kind, FindingKind::PrivilegesMissing);
    let lacks = "lacks SELECT ON TABLE ledger_audit.service";
    assert!(finding.message.ends_with(lacks), "{report}");
    guarded.as_superuser(&finding.remedy).await;
    let report = audit.check().await.unwrap();
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn the_error_for_a_missing_or_forbidden_schema_has_a_remedy() {
    let mut database = super::super::database().await;
    let app = database.role("app", "LOGIN").await;
    let pool = PgPool::connect(&database.url_as(&app)).await.unwrap();
    for development in [false, true] {
        let error = Audit::builder(pool.clone(), "ledger")
            .development(development)
            .start()
            .await
            .unwrap_err();
        let Error::Unsafe(report) = &error else {
            panic!("{error}");
        };
        assert_eq!(report.findings[0].kind, FindingKind::MigrationBehind);
        assert!(
            error.to_string().contains("platform-audit migrate"),
            "{error}"
        );
    }
    let superuser = PgPool::connect(database.url()).await.unwrap();
    Audit::builder(superuser, "ledger").migrate().await.unwrap();
    let error = Audit::builder(pool, "ledger").start().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("SELECT ledger_audit.grant_app('{app}')")),
        "{error}"
    );
}

#[tokio::test]
async fn the_error_for_a_missing_table_names_it() {
    let guarded = Guarded::new().await;
    for pool in [app_pool(&guarded).await, guarded.owner_pool().await] {
        for builder in [
            Audit::builder(pool.clone(), "ledger").guard(["ledger.entri"]),
            Audit::builder(pool, "ledger").exempt("ledger.entri", "why"),
        ] {
            let error = builder.start().await.unwrap_err();
            assert!(
                error.to_string().contains("no table `ledger.entri`"),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn an_unaudited_change_has_its_own_error() {
    let guarded = Guarded::new().await;
    let pool = app_pool(&guarded).await;
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("DELETE FROM entry")
        .execute(&mut *tx)
        .await
        .unwrap();
    let error = Error::from(tx.commit().await.unwrap_err());
    let Error::Unaudited { table, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(table, "public.entry");
    assert!(error.to_string().contains("public.entry"), "{error}");
    assert!(error.to_string().contains("#[audited]"), "{error}");
    let other = Error::from(sqlx::Error::PoolClosed);
    assert!(matches!(other, Error::Store(_)), "{other}");
}

#[tokio::test]
async fn write_record_enforces_size_limits_and_records_the_database_user() {
    let guarded = Guarded::new().await;
    let mut connection = guarded.connect(App).await;
    let id: String = sqlx::query_scalar(
        "SELECT ledger_audit.write_record(actor => 'ada', action => 'entry.repair', resource_type => 'entry', resource_id => '1', reason => 'ticket 7',
            actor_tenant => 'clinic-7', changes => '{\"amount\": {\"before\": 1, \"after\": null}}', details => '{\"ticket\": 7, \"database_user\": \"nobody\"}')::text",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    let id: uuid::Uuid = id.parse().unwrap();
    assert_eq!(id.get_version_num(), 7);
    let audit = Audit::builder(app_pool(&guarded).await, "ledger")
        .development(true)
        .start()
        .await
        .unwrap();
    let record = audit.record(id).await.unwrap().unwrap();
    assert_eq!(record.service, "ledger");
    assert_eq!(record.actor, Actor::user("ada").with_tenant("clinic-7"));
    assert_eq!(record.reason.as_deref(), Some("ticket 7"));
    assert_eq!(record.resource_id.as_deref(), Some("1"));
    assert_eq!(record.details["database_user"], guarded.app.as_str());
    assert_eq!(record.details["ticket"], 7);
    assert_eq!(
        record.changes["amount"].after,
        Some(serde_json::Value::Null)
    );

    let long = "x".repeat(1025);
    let wide = "x".repeat(257);
    for (arguments, said) in [
        (
            "actor => '', action => 'a.b', reason => 'r'".to_owned(),
            "actor is missing",
        ),
        (
            "actor => 'ada', action => 'a.b', reason => ' '".to_owned(),
            "reason is missing",
        ),
        (
            "actor => 'ada', action => 'a.b', reason => NULL".to_owned(),
            "reason is missing",
        ),
        (
            "actor => 'ada', action => 'Entry', reason => 'r'".to_owned(),
            "is not the name of an action",
        ),
        (
            format!("actor => 'ada', action => 'a.b', reason => '{long}'"),
            "reason has 1025 bytes; the maximum is 1024",
        ),
        (
            format!("actor => '{wide}', action => 'a.b', reason => 'r'"),
            "actor has 257 bytes; the maximum is 256",
        ),
        (
            "actor => 'ada', action => 'a.b', reason => 'r', actor_kind => 'robot'".to_owned(),
            "is not a kind of actor",
        ),
        (
            "actor => 'ada', action => 'a.b', reason => 'r', changes => '{\"a\": 1}'".to_owned(),
            "malformed",
        ),
        (
            "actor => 'ada', action => 'a.b', reason => 'r', changes => '{\"a\": {\"old\": 1}}'"
                .to_owned(),
            "malformed",
        ),
        (
            "actor => 'ada', action => 'a.b', reason => 'r', details => '[]'".to_owned(),
            "malformed",
        ),
    ] {
        let refused = run(
            &mut connection,
            &format!("SELECT ledger_audit.write_record({arguments})"),
        )
        .await;
        let refused = refused.expect_err(&arguments).to_string();
        assert!(refused.contains(said), "{arguments}: {refused}");
    }
    guarded.accepts(Owner, &[RECORD]).await;
    guarded.accepts(Superuser, &[RECORD]).await;
}

#[tokio::test]
async fn a_partition_that_was_guarded_alone_is_guarded_with_its_table() {
    let guarded = Guarded::new().await;
    for statement in [
        "CREATE TABLE visit (id int) PARTITION BY RANGE (id)",
        "CREATE TABLE visit_1 PARTITION OF visit FOR VALUES FROM (0) TO (10)",
        "SELECT ledger_audit.guard('visit_1')",
        "SELECT ledger_audit.guard('visit')",
    ] {
        guarded.as_superuser(statement).await;
    }
    let mut connection = guarded.connect(Superuser).await;
    for change in [
        "INSERT INTO visit VALUES (1)",
        "INSERT INTO visit_1 VALUES (2)",
    ] {
        assert_eq!(refusal(&mut connection, change).await, "AU002", "{change}");
    }
}

/// The bounds of a month are converted through text.
#[tokio::test]
async fn partition_bounds_do_not_depend_on_the_sessions_time_zone() {
    let guarded = Guarded::new().await;
    let mut connection = guarded.connect(App).await;
    for statement in [
        "SET DateStyle = 'SQL, DMY'",
        "SET TimeZone = 'Asia/Shanghai'",
        "SELECT ledger_audit.maintain(24)",
        "SET DateStyle = 'ISO'",
        "SET TimeZone = 'UTC'",
    ] {
        run(&mut connection, statement).await.expect(statement);
    }
    let bounds: Vec<String> = sqlx::query_scalar(
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class
         WHERE relispartition AND relnamespace = 'ledger_audit'::regnamespace AND relkind = 'r' AND relname <> 'record_default'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(bounds.len(), 25);
    for bound in bounds {
        assert_eq!(bound.matches("-01 00:00:00+00").count(), 2, "{bound}");
    }
}

/// As default privileges of a database may have granted them.
#[tokio::test]
async fn the_applications_privileges_on_the_sequence_are_revoked() {
    let guarded = Guarded::new().await;
    let app = &guarded.app;
    guarded
        .as_superuser(&format!(
            "GRANT ALL ON ALL SEQUENCES IN SCHEMA ledger_audit TO {app}; SELECT ledger_audit.grant_app('{app}')"
        ))
        .await;
    let mut connection = guarded.connect(App).await;
    for forgery in [
        "SELECT setval('ledger_audit.checked_transaction', 5)",
        "SELECT nextval('ledger_audit.checked_transaction')",
    ] {
        assert_eq!(
            refusal(&mut connection, forgery).await,
            "42501",
            "{forgery}"
        );
    }
}
