//! What a service checks when it starts.

use platform_audit::check::FindingKind;
use platform_audit::{Audit, Error};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use super::check::{check, clean, start_as_app};

#[tokio::test]
async fn a_service_that_assumes_a_weaker_role_with_set_role_is_found() {
    let mut guarded = clean().await;
    let member = guarded.database.role("member", "LOGIN").await;
    guarded
        .as_superuser(&format!("GRANT {} TO {member}", guarded.app))
        .await;
    let weak = guarded.database.url_as(&member);
    let owner = guarded.database.url_as(&guarded.owner);
    guarded
        .as_superuser(&format!(
            "ALTER ROLE {0} LOGIN; GRANT {1} TO {0}",
            guarded.owner, guarded.app
        ))
        .await;
    for (url, found) in [
        (guarded.database.url(), true),
        (&owner, true),
        (&weak, false),
    ] {
        let options: PgConnectOptions = url.parse().unwrap();
        let pool = PgPool::connect_with(options.options([("role", &guarded.app)]))
            .await
            .unwrap();
        let started = Audit::builder(pool, "ledger").start().await.map(drop);
        match started {
            Err(Error::Unsafe(report)) if found => {
                let kinds: Vec<_> = report.findings.iter().map(|it| it.kind).collect();
                assert_eq!(kinds, [FindingKind::RoleAssumed], "{report}");
            }
            Ok(()) if !found => {}
            other => panic!("{url}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_missing_partition_for_next_month_is_found() {
    let guarded = clean().await;
    guarded
        .as_superuser(
            "DO $$ BEGIN EXECUTE 'DROP TABLE ledger_audit.record_' || to_char((now() AT TIME ZONE 'UTC') + interval '1 month', 'YYYY_MM'); END $$",
        )
        .await;
    let report = check(&guarded).await;
    assert_eq!(report.findings.len(), 1, "{report}");
    assert_eq!(report.findings[0].kind, FindingKind::PartitionMissing);
    // A service creates it when it starts.
    start_as_app(&guarded, false).await.unwrap();
    assert!(check(&guarded).await.is_clean());
}

#[tokio::test]
async fn unapplied_and_unknown_migrations_are_found() {
    let guarded = clean().await;
    guarded
        .as_superuser("INSERT INTO ledger_audit.migration (version, description, success, checksum, execution_time) VALUES (99, 'of the future', true, '', 0)")
        .await;
    let report = check(&guarded).await;
    assert_eq!(report.findings.len(), 1, "{report}");
    assert_eq!(report.findings[0].kind, FindingKind::MigrationAhead);
    assert!(
        report.findings[0].message.contains("migration 99"),
        "{report}"
    );
    assert!(matches!(
        start_as_app(&guarded, false).await,
        Err(Error::Unsafe(_))
    ));
    let older = Audit::builder(guarded.owner_pool().await, "ledger");
    let error = older.migrate().await.unwrap_err();
    assert!(matches!(error, Error::SchemaAhead { .. }), "{error}");
    assert!(error.to_string().contains("migration 99"), "{error}");

    guarded
        .as_superuser("DELETE FROM ledger_audit.migration WHERE version IN (5, 99)")
        .await;
    let report = check(&guarded).await;
    assert_eq!(report.findings.len(), 1, "{report}");
    assert_eq!(report.findings[0].kind, FindingKind::MigrationBehind);
    assert!(
        report.findings[0].message.contains("migration 5"),
        "{report}"
    );
    assert!(matches!(
        start_as_app(&guarded, true).await,
        Err(Error::Unsafe(_))
    ));
}

#[tokio::test]
async fn the_start_checks_the_connected_role_instead_of_the_configured_one() {
    let guarded = clean().await;
    let pool = PgPool::connect(guarded.database.url()).await.unwrap();
    let started = Audit::builder(pool, "ledger")
        .app_role(&guarded.app)
        .start();
    let error = started.await.unwrap_err();
    let Error::Unsafe(report) = error else {
        panic!("{error}")
    };
    let kinds: Vec<_> = report.findings.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [FindingKind::AppSuperuser], "{report}");
}

#[tokio::test]
async fn a_service_does_not_start_on_a_read_only_database() {
    let guarded = clean().await;
    let frozen = format!(
        "ALTER ROLE {} SET default_transaction_read_only = on",
        guarded.app
    );
    guarded.as_superuser(&frozen).await;
    for development in [false, true] {
        let error = start_as_app(&guarded, development).await.unwrap_err();
        let Error::Unsafe(report) = &error else {
            panic!("{error}")
        };
        assert_eq!(report.findings.len(), 1, "{report}");
        assert_eq!(report.findings[0].kind, FindingKind::ReadOnly);
        assert!(!error.to_string().contains("development(true)"), "{error}");
    }
}

/// A dump locks all partitions while it runs, so no partitions can be created.
#[tokio::test]
async fn a_running_dump_does_not_prevent_a_start() {
    let guarded = clean().await;
    let owner = guarded.owner_pool().await;
    let last: String = sqlx::query_scalar(
        "SELECT 'ledger_audit.record_' || to_char((now() AT TIME ZONE 'UTC') + interval '3 months', 'YYYY_MM')",
    )
    .fetch_one(&owner)
    .await
    .unwrap();
    let drop =
        format!("ALTER TABLE ledger_audit.record DETACH PARTITION {last}; DROP TABLE {last}");
    guarded.as_superuser(&drop).await;
    let mut dump = owner.begin().await.unwrap();
    sqlx::query("LOCK TABLE ledger_audit.record_default IN ACCESS SHARE MODE")
        .execute(&mut *dump)
        .await
        .unwrap();
    start_as_app(&guarded, false).await.expect("it starts");
    let made = format!("SELECT to_regclass('{last}') IS NOT NULL");
    let made = async || {
        let made = sqlx::query_scalar::<_, bool>(sqlx::AssertSqlSafe(made.clone()));
        made.fetch_one(&owner).await.unwrap()
    };
    assert!(!made().await, "the dump did not block the new partition");
    dump.rollback().await.unwrap();
    start_as_app(&guarded, false).await.unwrap();
    assert!(made().await);
}
