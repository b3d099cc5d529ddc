//! A change that was committed without a record is not hidden by the next record.

use platform_audit::check::FindingKind;
use platform_audit::query::AuditQuery;
use platform_audit::{Actor, Audit, AuditTx, Error, TransactionError};
use sqlx::{AssertSqlSafe, Sqlite};

use super::cases::{Entry, Service};
use super::guard::Guarded;

/// A change without a record that SQLite accepts.
const BYPASS: [&str; 4] = [
    "BEGIN",
    "UPDATE entry SET amount = 0",
    "PRAGMA defer_foreign_keys = OFF",
    "COMMIT",
];

async fn change(audit: &Audit<Sqlite>) -> Result<(), TransactionError<sqlx::Error>> {
    let actor = Actor::system("job");
    audit
        .transaction(actor, "entry.add", async |tx: &mut AuditTx<Sqlite>| {
            sqlx::query("INSERT INTO entry (amount) VALUES (5)")
                .execute(&mut *tx)
                .await?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn changes_are_refused_until_an_unrecorded_change_is_recorded() {
    let guarded = Guarded::new().await;
    let audit = guarded.builder().start().await.unwrap();
    change(&audit).await.unwrap();
    assert_eq!(
        guarded.attempt(&BYPASS).await,
        None,
        "SQLite commits the change"
    );
    let before = guarded.content().await;

    for _ in 0..2 {
        let refused = change(&audit).await.unwrap_err();
        assert!(
            matches!(&refused, TransactionError::Audit(Error::ObligationOpen { table }) if table == "entry"),
            "{refused}"
        );
    }
    assert_eq!(guarded.content().await, before);
    // The log can be read meanwhile, which hides nothing.
    let reader = audit.reader().read_as(Actor::user("grace"));
    let page = reader.page(&AuditQuery::new(), None).await.unwrap();
    assert!(!page.records.is_empty());

    let report = guarded.builder().check().await.unwrap();
    let [finding] = &report.findings[..] else {
        panic!("{report}")
    };
    assert_eq!(
        (finding.kind, &*finding.object),
        (FindingKind::ObligationOpen, "entry")
    );
    let refused = guarded.builder().start().await;
    assert!(matches!(refused, Err(Error::Unsafe(_))));

    sqlx::raw_sql(AssertSqlSafe(finding.remedy.clone()))
        .execute(&guarded.pool)
        .await
        .unwrap();
    change(&audit).await.unwrap();
    let report = guarded.builder().check().await.unwrap();
    assert!(report.is_clean(), "{report}");
    let late = AuditQuery::new().action("table.repair");
    let late = reader.page(&late, None).await.unwrap();
    assert_eq!(late.records.len(), 1);
    audit.shutdown().await;
}

/// A record inserted alone belongs to no change: the record of a sensitive read must not meet an
/// obligation.
#[tokio::test]
async fn a_record_inserted_alone_meets_no_earlier_obligation() {
    let guarded = Guarded::new().await;
    assert_eq!(guarded.attempt(&BYPASS).await, None);
    let read = super::guard::RECORD.replace("entry.repair", "audit.read");
    assert_eq!(guarded.attempt(&[&read]).await, None);
    let by_hand = "UPDATE ledger_audit_obligation SET record_id = (SELECT id FROM ledger_audit_record WHERE action = 'audit.read')";
    assert!(guarded.attempt(&[by_hand]).await.is_some());
    let report = guarded.builder().check().await.unwrap();
    let kinds: Vec<_> = report.findings.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [FindingKind::ObligationOpen], "{report}");
}

#[tokio::test]
async fn the_response_to_a_request_refused_for_an_open_obligation_names_it() {
    let service = Service::with(|builder| builder.guard(["entry"]), |router| router).await;
    assert_eq!(service.send("/entries", &Entry::new(1)).await.status(), 201);
    let mut connection = service.pool.acquire().await.unwrap();
    for step in BYPASS {
        sqlx::raw_sql(step).execute(&mut *connection).await.unwrap();
    }
    drop(connection);
    let response = service.send("/entries", &Entry::new(2)).await;
    assert_eq!(response.status(), 503);
    assert_eq!(service.entries().await, 1);
    let id = super::cases::record_id(&response);
    let body = response.text().await.unwrap();
    assert!(
        body.contains("an earlier one has no audit record"),
        "{body}"
    );
    service.audit.shutdown().await;
    let record = service.audit.record(id).await.unwrap().unwrap();
    assert_eq!(record.error_type.as_deref(), Some("obligation_open"));
}
