//! What only Postgres and its driver can break at begin and commit.

use axum::http::StatusCode;
use platform_audit::routing::post;
use platform_audit::{Actor, Outcome, audited};
use sqlx::{Connection as _, PgPool};

use super::cases::{Entry, Failure, Service, Tx, insert, record_id, wait_until};

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

/// Cancels `pool.begin()` until the pool holds a connection with an open transaction.
async fn leak_a_transaction(pool: &PgPool) {
    use futures_util::FutureExt;
    for polls in 1..200 {
        let mut begin = Box::pin(pool.begin());
        for _ in 0..polls {
            if begin.as_mut().now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(begin);
        // Let the pool take the connection back.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%' AND pid <> pg_backend_pid()";
        let mut other = sqlx::postgres::PgConnection::connect_with(&pool.connect_options())
            .await
            .unwrap();
        let open: i64 = sqlx::query_scalar(open)
            .fetch_one(&mut other)
            .await
            .unwrap();
        if open > 0 {
            return;
        }
    }
    panic!(
        "no cancelled begin left a transaction open: the hazard is gone, the defence may go too"
    );
}
#[tokio::test]
async fn a_cancelled_begin_of_the_services_pool_taints_no_audited_work() {
    let service = Service::start().await;
    let tainted = sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .connect_with((*service.pool.connect_options()).clone())
        .await
        .unwrap();
    leak_a_transaction(&tainted).await;
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
        let cut = tokio::time::timeout(std::time::Duration::from_micros(micros), work).await;
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
}
