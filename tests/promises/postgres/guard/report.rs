//! The report of a check, and the errors of a check that is refused.

use platform_audit::{Audit, Error};
use sqlx::PgPool;

use super::check::{check, clean};

#[tokio::test]
async fn a_report_is_formatted_as_text_and_json() {
    let guarded = clean().await;
    guarded
        .as_superuser("CREATE TABLE another (id int); GRANT TRUNCATE ON entry TO PUBLIC")
        .await;
    let report = check(&guarded).await;
    let text = report.to_string();
    assert!(text.starts_with("1. "), "{text}");
    assert!(text.contains("\n2. "), "{text}");
    assert!(
        text.contains("remedy: SELECT ledger_audit.guard('public.another');"),
        "{text}"
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["schema"], "ledger_audit");
    assert_eq!(json["role"], guarded.app.as_str());
    assert_eq!(json["findings"][0]["finding"], "table_unguarded");
    assert_eq!(json["findings"][1]["finding"], "truncate_granted");
    assert!(
        json["findings"][1]["remedy"]
            .as_str()
            .unwrap()
            .starts_with("REVOKE TRUNCATE")
    );
}

#[tokio::test]
async fn a_missing_schema_is_not_reported_as_clean() {
    let guarded = clean().await;
    let pool = guarded.owner_pool().await;
    for (schema, known) in [("public", true), ("ledgr", false)] {
        let checked = Audit::builder(pool.clone(), "ledger")
            .tables_in(["public", schema])
            .check()
            .await;
        match checked {
            Ok(_) => assert!(known, "{schema}"),
            Err(error) => {
                assert!(
                    matches!(&error, Error::UnknownSchema(it) if it == schema),
                    "{error}"
                );
                assert!(!known, "{schema}");
            }
        }
    }
}

#[tokio::test]
async fn control_characters_in_a_report_are_escaped() {
    let guarded = clean().await;
    let name = "\u{1b}[2Jx\n1. nothing found\u{202e}";
    guarded
        .as_superuser(&format!("CREATE TABLE \"{name}\" (id int)"))
        .await;
    let report = check(&guarded).await;
    assert_eq!(report.findings.len(), 1);
    assert!(
        report.findings[0].object.contains('\u{1b}'),
        "unchanged in JSON"
    );
    let text = report.to_string();
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[tokio::test]
async fn a_check_without_privileges_is_an_error_and_not_a_finding() {
    let mut guarded = clean().await;
    let reader = guarded.database.role("compliance", "LOGIN").await;
    Audit::builder(guarded.owner_pool().await, "ledger")
        .grant(None, Some(&reader))
        .await
        .unwrap();
    let pool = PgPool::connect(&guarded.database.url_as(&reader))
        .await
        .unwrap();
    for for_the_app in [true, false] {
        let mut audit = Audit::builder(pool.clone(), "ledger");
        if for_the_app {
            audit = audit.app_role(&guarded.app);
        }
        let error = audit.check().await.unwrap_err();
        assert!(matches!(error, Error::NotChecked { .. }), "{error}");
    }
}

/// For example because a privilege is missing.
#[tokio::test]
async fn a_check_that_the_database_refuses_is_an_error_and_not_a_clean_report() {
    let guarded = clean().await;
    let refused = format!(
        "REVOKE SELECT ON ledger_audit.exemption FROM {}",
        guarded.owner
    );
    let differing = "DROP TRIGGER pending_check_requires_record ON ledger_audit.pending_check";
    for statement in [refused.as_str(), differing] {
        guarded.as_superuser(statement).await;
        let checked = Audit::builder(guarded.owner_pool().await, "ledger")
            .app_role(&guarded.app)
            .check()
            .await;
        let Err(Error::Store(error)) = checked else {
            panic!("{statement}: {checked:?}")
        };
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        assert_eq!(code.as_deref(), Some("42501"), "{error}");
    }
}
