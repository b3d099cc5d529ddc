//! The transaction begins with the first statement, and not before.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use platform_audit::{Error, TransactionError};

use super::*;

/// Waits for the test before its first statement, like a handler that calls another service.
#[audited(action = "entry.prepare")]
async fn prepare(
    tx: &mut Tx,
    Extension(gates): Extension<Arc<Gates>>,
    Json(entry): Json<Entry>,
) -> Result<StatusCode, Failure> {
    gates.inside.notify_one();
    gates.go_on.notified().await;
    insert(tx, &entry).await?;
    tx.created(&entry);
    Ok(StatusCode::CREATED)
}

/// Calls another audited operation while its own transaction is open.
#[audited(action = "entry.nest")]
async fn nest(
    tx: &mut Tx,
    Extension(audit): Extension<Audit<Db>>,
    Extension(refused): Extension<Arc<AtomicBool>>,
    Json(entry): Json<Entry>,
) -> Result<StatusCode, Failure> {
    insert(tx, &entry).await?;
    let nested = add(&audit, &Entry::new(2)).await;
    let is_refused = matches!(
        nested,
        Err(TransactionError::Audit(Error::NestedTransaction))
    );
    refused.store(is_refused, Ordering::SeqCst);
    nested.map_err(|_| Failure(StatusCode::CONFLICT))?;
    Ok(StatusCode::CREATED)
}

async fn add(audit: &Audit<Db>, entry: &Entry) -> Result<(), TransactionError<Failure>> {
    audit
        .transaction(Actor::system("job"), "entry.add", async |tx: &mut Tx| {
            insert(tx, entry).await
        })
        .await
}

#[tokio::test]
async fn a_handler_holds_no_connection_before_its_first_statement() {
    let service = Service::with(
        |builder| builder.max_connections(1),
        |router| router.route("/prepare", routing::post(prepare)),
    )
    .await;
    // With the only connection, which would not become free before the first request has ended.
    let entry = Entry::new(2);
    let second = service.send("/entries", &entry);
    let second = tokio::time::timeout(Duration::from_secs(20), second);
    let (first, second) = service.while_waiting("/prepare", second).await;
    assert_eq!(first.status(), 201);
    assert_eq!(second.expect("there is a free connection").status(), 201);
    assert_eq!((service.entries().await, service.records().await), (2, 2));
}

#[tokio::test]
async fn a_handler_without_a_statement_commits_its_record() {
    #[audited(action = "entry.note")]
    async fn note(tx: &mut Tx) -> StatusCode {
        tx.record("entry", "7");
        StatusCode::NO_CONTENT
    }
    let service = Service::with(|b| b, |router| router.route("/note", routing::post(note))).await;
    let response = service.post("/note").send().await.unwrap();
    assert_eq!(response.status(), 204);
    let record = service.record_of(&response).await;
    assert_eq!(record.outcome, Outcome::Success);
    assert_eq!(record.resource_id.as_deref(), Some("7"));
}

/// The handler ignores that its statement failed, and reports success.
#[tokio::test]
async fn a_transaction_that_could_not_begin_is_not_committed_later() {
    #[audited(action = "entry.ignore")]
    async fn ignore(tx: &mut Tx, Json(entry): Json<Entry>) -> StatusCode {
        for _ in 0..2 {
            let failed = insert(tx, &entry).await;
            assert!(
                failed.is_err(),
                "the transaction began at the second attempt"
            );
        }
        StatusCode::CREATED
    }
    let database = database().await;
    let url = database.url().to_owned();
    let service = Service::build(
        database,
        &url,
        |options| options.acquire_timeout(Duration::from_secs(1)),
        |builder| builder.max_connections(1),
        |router| router.route("/ignore", routing::post(ignore)),
    )
    .await;
    let entry = Entry::new(2);
    let refused = service.send("/ignore", &entry);
    let (waited, refused) = service.while_waiting("/wait", refused).await;
    assert_eq!(waited.status(), 201);
    assert_eq!(refused.status(), 503);
    service.wait_for_records(2).await;
    let record = service.record_of(&refused).await;
    assert_eq!(record.outcome, Outcome::Failed);
    assert_eq!(record.error_type.as_deref(), Some("begin_failed"));
    assert_eq!(service.entries().await, 1);
}

#[tokio::test]
async fn a_nested_transaction_is_refused_at_once_and_starves_no_pool() {
    let refused = Arc::new(AtomicBool::new(false));
    let service = Service::start().await;
    let app = routes()
        .route("/nest", routing::post(nest))
        .layer(Extension(service.audit.clone()))
        .layer(Extension(Arc::clone(&refused)))
        .layer(service.audit.layer())
        .with_state(Shared {
            pool: service.pool.clone(),
        });
    let url = format!("http://{}/nest", serve(app.into()).await);
    let sent = (0..200).map(|n| {
        let request = service.client.post(&url).header("x-user", "ada");
        request.json(&Entry::new(n)).send()
    });
    let responses = futures_util::future::join_all(sent).await;
    for response in &responses {
        assert_eq!(response.as_ref().unwrap().status(), 409);
    }
    assert!(refused.load(Ordering::SeqCst));
    assert_eq!(service.entries().await, 0);
    assert_eq!(
        (
            service.records().await,
            service.audit.status().lost_attempts
        ),
        (200, 0)
    );

    // The same call is fine in a task of its own, and in one transaction after another.
    let audit = service.audit.clone();
    let outer = service
        .audit
        .transaction(Actor::system("job"), "entry.outer", async |_: &mut Tx| {
            let inner = tokio::spawn(async move { add(&audit, &Entry::new(1)).await });
            inner
                .await
                .unwrap()
                .map_err(|_| Failure(StatusCode::CONFLICT))
        })
        .await;
    outer.unwrap();
    assert_eq!(service.entries().await, 1);
}
