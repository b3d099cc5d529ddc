//! A cancelled request leaves both the change and its record, or neither.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::*;

impl Service {
    /// Sends `entry` to `path`, closes the connection once the handler is running, and waits until
    /// the server has noticed.
    async fn disconnect(&self, path: &str, entry: &Entry) {
        let body = serde_json::to_string(entry).unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nx-user: ada\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut connection = tokio::net::TcpStream::connect(self.address).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        self.gates.inside.notified().await;
        drop(connection);
        self.gates.gone.notified().await;
    }
}

#[tokio::test]
async fn a_cancelled_request_leaves_both_or_neither() {
    let service = Service::start().await;
    let entry = Entry::new(1);
    service.disconnect("/wait", &entry).await;
    service.gates.go_on.notify_one();
    service.wait_for_records(1).await;
    let record = service.only_record().await;
    assert_eq!(
        record.outcome,
        Outcome::Success,
        "a handler that has begun is finished"
    );
    assert_eq!(record.resource_id, Some(entry.id));
    assert_eq!(service.entries().await, 1);
}

#[tokio::test]
async fn a_handler_that_never_ends_is_rolled_back_after_its_client_disconnected() {
    let service = Service::with(
        |builder| builder.abandoned_after(Duration::from_millis(100)),
        |r| r,
    )
    .await;
    service.disconnect("/wait", &Entry::new(1)).await;
    service.wait_for_records(1).await;
    let record = service.only_record().await;
    assert_eq!(record.outcome, Outcome::TimedOut);
    assert_eq!(record.error_type.as_deref(), Some("client_disconnected"));
    assert_eq!(record.status, None);
    assert_eq!(service.entries().await, 0);
    // Its database connection is released.
    assert_eq!(service.send("/entries", &Entry::new(2)).await.status(), 201);
}

#[tokio::test]
async fn a_cancelled_transaction_is_rolled_back_and_recorded() {
    let service = Service::start().await;
    let (inside, reached) = tokio::sync::oneshot::channel();
    let audit = service.audit.clone();
    let work = tokio::spawn(async move {
        audit
            .transaction(Actor::system("job"), "entry.stall", async |tx: &mut Tx| {
                insert(tx, &Entry::new(1)).await?;
                inside.send(()).unwrap();
                std::future::pending::<()>().await;
                Ok::<_, Failure>(())
            })
            .await
    });
    reached.await.unwrap();
    work.abort();
    service.wait_for_records(1).await;
    let record = service.only_record().await;
    assert_eq!(
        (record.outcome, record.error_type.as_deref()),
        (Outcome::TimedOut, Some("cancelled"))
    );
    assert_eq!(service.entries().await, 0);
    assert_eq!(service.send("/entries", &Entry::new(2)).await.status(), 201);
}

#[tokio::test]
async fn a_transaction_cancelled_before_begin_is_recorded_and_leaks_no_connection() {
    let service = Service::with(|builder| builder.max_connections(1), |router| router).await;
    let dropped = async {
        for _ in 0..3 {
            let work = service.audit.transaction(
                Actor::system("job"),
                "entry.stall",
                async |tx: &mut Tx| insert(tx, &Entry::new(1)).await,
            );
            let late = tokio::time::timeout(Duration::from_millis(20), work).await;
            assert!(late.is_err(), "there was a second connection");
        }
    };
    let (waited, ()) = service.while_waiting("/wait", dropped).await;
    assert_eq!(waited.status(), 201);
    service.wait_for_records(4).await;
    let records = service.all_records().await;
    let attempts: Vec<_> = records
        .iter()
        .filter(|record| record.action == "entry.stall")
        .map(|record| (record.outcome, record.error_type.as_deref()))
        .collect();
    assert_eq!(attempts, [(Outcome::TimedOut, Some("cancelled")); 3]);
    assert_eq!(service.entries().await, 1);
}

#[tokio::test]
async fn a_panic_in_a_transaction_is_recorded_and_propagated() {
    let service = Service::start().await;
    let audit = service.audit.clone();
    let work = tokio::spawn(async move {
        audit
            .transaction(Actor::system("job"), "entry.burst", async |tx: &mut Tx| {
                insert(tx, &Entry::new(1)).await?;
                if tx.record_id().is_nil() {
                    Ok::<_, Failure>(())
                } else {
                    panic!("expected by the test")
                }
            })
            .await
    });
    assert!(work.await.unwrap_err().is_panic());
    assert_eq!(service.only_record().await.outcome, Outcome::Panicked);
    assert_eq!(service.entries().await, 0);
}

#[tokio::test]
async fn recording_attempts_with_an_exhausted_pool_does_not_deadlock() {
    let service = Service::with(|builder| builder.max_connections(1), |router| router).await;
    let attempts = (0..8).map(|n| {
        let path = if n % 2 == 0 { "/fail/409" } else { "/panic" };
        service.post(path).json(&Entry::new(n)).send()
    });
    let responses = futures_util::future::join_all(attempts).await;
    let status =
        |response: &Result<reqwest::Response, _>| response.as_ref().unwrap().status().as_u16();
    assert!(
        responses
            .iter()
            .all(|response| matches!(status(response), 409 | 500))
    );
    assert_eq!(service.records().await, 8);
    assert_eq!(service.audit.status().lost_attempts, 0);
}

#[tokio::test]
async fn a_shutdown_waits_for_the_handlers_of_disconnected_clients() {
    let service = Service::start().await;
    service.disconnect("/wait", &Entry::new(1)).await;
    let audit = service.audit.clone();
    let mut shutdown = tokio::spawn(async move { audit.shutdown().await });
    let early = tokio::time::timeout(Duration::from_millis(100), &mut shutdown).await;
    assert!(early.is_err(), "the shutdown did not wait");
    service.gates.go_on.notify_one();
    shutdown.await.unwrap();
    assert_eq!((service.entries().await, service.records().await), (1, 1));
}
