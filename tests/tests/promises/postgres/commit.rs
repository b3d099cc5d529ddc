//! What only Postgres and its driver can break at begin and commit.

use std::time::Duration;

use axum::http::StatusCode;
use platform_audit::routing::post;
use platform_audit::{Actor, Outcome, audited};
use platform_tests::wire::Wire;
use sqlx::PgPool;

use super::cases::{Entry, Failure, Service, Tx, insert, record_id, wait_until};
use super::database;

/// Swallows a statement's error, which aborts the transaction, and answers 201 all the same.
#[audited(action = "entry.swallow")]
async fn swallow(tx: &mut Tx) -> Result<StatusCode, Failure> {
    insert(tx, &Entry::new(1)).await?;
    let refused = insert(tx, &Entry::new(-1)).await;
    assert!(refused.is_err());
    Ok(StatusCode::CREATED)
}

#[tokio::test]
async fn an_aborted_transaction_is_never_reported_as_committed() {
    let service = Service::with(|b| b, |router| router.route("/swallow", post(swallow))).await;

    // Without the toolkit: sqlx 0.9 calls the commit of an aborted transaction a success.
    let mut plain = service.pool.begin().await.unwrap();
    let refused = sqlx::query("INSERT INTO entry VALUES ('plain', -1, '', '')")
        .execute(&mut *plain)
        .await;
    assert!(refused.is_err());
    assert!(
        plain.commit().await.is_ok(),
        "the hazard is gone: the defence may go too"
    );

    let answer = service.post("/swallow").send().await.unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(service.entries().await, 0);
    let record = service.only_record().await;
    assert_eq!(
        (record.outcome, record.error_type.as_deref()),
        (Outcome::Failed, Some("record_refused"))
    );
}

/// A pool whose only connection has a transaction open of which the pool knows nothing: its
/// `begin` was cancelled while the answer was under way.
async fn tainted_pool(wire: &Wire, url: &str) -> PgPool {
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .connect(&wire.through(url))
        .await
        .unwrap();
    wire.hold(true);
    let begin = tokio::time::timeout(Duration::from_millis(50), pool.begin()).await;
    assert!(begin.is_err(), "nothing answers while the wire is held");
    wire.hold(false);
    // Two statements of one transaction have the same time.
    let mut times = Vec::new();
    for _ in 0..2 {
        let now = sqlx::query_scalar::<_, String>("SELECT now()::text");
        times.push(now.fetch_one(&pool).await.unwrap());
    }
    assert_eq!(
        times[0], times[1],
        "no transaction was left open: the hazard is gone, the defence may go too"
    );
    pool
}

#[tokio::test]
async fn a_cancelled_begin_of_the_services_pool_taints_no_audited_work() {
    let database = database().await;
    let url = database.url().to_owned();
    let wire = Wire::before(&url).await;
    let service = Service::on(database, &url, |builder| builder, |router| router).await;
    let tainted = tainted_pool(&wire, &url).await;
    // Whoever borrows that connection now believes this to be committed.
    sqlx::query("INSERT INTO entry (id, amount, iban, record_id) VALUES ('stray', 1, '', '')")
        .execute(&tainted)
        .await
        .unwrap();
    let audit = platform_audit::Audit::new(tainted, "other")
        .development(true)
        .start()
        .await
        .unwrap();
    let entry = Entry::new(1);
    audit
        .transaction(Actor::system("job"), "entry.create", async |tx: &mut Tx| {
            insert(tx, &entry).await?;
            tx.created(&entry);
            Ok::<_, Failure>(())
        })
        .await
        .unwrap();
    // The stray change did not slip into the audited transaction.
    let records = service
        .scalar("SELECT count(*) FROM other_audit.record")
        .await;
    assert_eq!((service.entries().await, records), (1, 1));
}

#[tokio::test]
async fn a_cancelled_begin_of_audited_work_leaves_no_transaction_open() {
    let service = Service::start().await;
    service.send("/entries", &Entry::new(0)).await;
    for micros in (0..400).step_by(7) {
        let work =
            service
                .audit
                .transaction(Actor::system("job"), "entry.cut", async |tx: &mut Tx| {
                    insert(tx, &Entry::new(1)).await?;
                    std::future::pending::<()>().await;
                    Ok::<_, Failure>(())
                });
        let cut = tokio::time::timeout(Duration::from_micros(micros), work).await;
        assert!(cut.is_err());
    }
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    wait_until(|| async { service.scalar(open).await == 0 }).await;
    assert_eq!(service.entries().await, 1, "only the first was committed");
    assert_eq!(service.send("/entries", &Entry::new(2)).await.status(), 201);
    assert_eq!(service.entries().await, 2);
}

#[tokio::test]
async fn stale_connections_cost_no_request() {
    let service = Service::start().await;
    for n in 0..3 {
        assert_eq!(service.send("/entries", &Entry::new(n)).await.status(), 201);
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        service.scalar(cut).await;
    }
    assert_eq!(service.send("/entries", &Entry::new(9)).await.status(), 201);
    assert_eq!(service.records().await, 4);
}

#[tokio::test]
async fn a_deferred_constraint_that_fails_at_commit_is_not_reported_as_committed() {
    let service = Service::start().await;
    sqlx::raw_sql(
        "CREATE TABLE parent (id TEXT PRIMARY KEY);
         ALTER TABLE entry ADD FOREIGN KEY (iban) REFERENCES parent DEFERRABLE INITIALLY DEFERRED",
    )
    .execute(&service.pool)
    .await
    .unwrap();
    let answer = service.send("/entries", &Entry::new(1)).await;
    assert_eq!(answer.status(), 500);
    assert_eq!(service.entries().await, 0);
    let record = service.only_record().await;
    assert_eq!(record.id, record_id(&answer));
    assert_eq!(
        (record.outcome, record.error_type.as_deref()),
        (Outcome::Failed, Some("commit_refused"))
    );
    assert_eq!(record.resource_type.as_deref(), Some("entry"));
    assert!(record.resource_id.is_some(), "of what was to be changed");
}

/// As a pooler tells of a server that it lost in the middle of a COMMIT, of which nobody knows whether it
/// was done.
#[tokio::test]
async fn an_internal_error_at_commit_is_no_refusal() {
    let service = Service::start().await;
    sqlx::raw_sql(
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'lost' USING ERRCODE = 'XX000'; END $$;
         CREATE CONSTRAINT TRIGGER lose AFTER INSERT ON entry DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION lose()",
    )
    .execute(&service.pool)
    .await
    .unwrap();
    let answer = service.send("/entries", &Entry::new(1)).await;
    assert_eq!(answer.status(), 503);
    let id = record_id(&answer);
    assert!(answer.text().await.unwrap().contains("if and only if"));
    assert!(service.audit.record(id).await.unwrap().is_none());
    assert_eq!(service.entries().await, 0);
}
