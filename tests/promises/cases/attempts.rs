//! Failed attempts, which change nothing, are recorded exactly once, whatever the failure.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use super::*;

/// Asserts that nothing changed and that the only record has this outcome. Returns the record.
pub(super) async fn assert_attempt(
    service: &Service,
    response: &reqwest::Response,
    status: u16,
    outcome: Outcome,
) -> AuditRecord {
    assert_eq!(response.status(), status);
    let record = service.only_record().await;
    assert_eq!(
        record.id,
        record_id(response),
        "the response names the attempt's record"
    );
    assert_eq!(record.outcome, outcome);
    assert_eq!(record.status, Some(status));
    assert!(
        record.changes.is_empty(),
        "nothing changed: {:?}",
        record.changes
    );
    assert_eq!(service.entries().await, 0, "the change was not rolled back");
    assert_eq!(service.audit.status().attempts, 1);
    record
}

#[tokio::test]
async fn a_failing_handler_is_rolled_back_and_recorded() {
    for (status, outcome) in [
        (403, Outcome::Denied),
        (409, Outcome::Invalid),
        (500, Outcome::Failed),
        (504, Outcome::TimedOut),
        (999, Outcome::Failed),
    ] {
        let service = Service::start().await;
        let entry = Entry::new(1);
        let response = service.send(&format!("/fail/{status}"), &entry).await;
        let record = assert_attempt(&service, &response, status, outcome).await;
        assert_eq!(record.action, "entry.fail");
        assert_eq!(record.resource_id, Some(entry.id));
        assert_eq!(record.error_type, Some(status.to_string()));
    }
}

#[tokio::test]
async fn a_panic_is_rolled_back_and_recorded_and_gets_a_response() {
    let service = Service::start().await;
    let entry = Entry::new(1);
    let response = service.send("/panic", &entry).await;
    let record = assert_attempt(&service, &response, 500, Outcome::Panicked).await;
    assert_eq!(record.error_type.as_deref(), Some("panic"));
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let body = response.text().await.unwrap();
    assert!(!body.contains("expected by the test"), "{body}");
}

#[tokio::test]
async fn a_body_that_an_extractor_rejects_is_recorded() {
    let service = Service::start().await;
    let response = service
        .post("/entries")
        .header("content-type", "application/json")
        .body("{not json")
        .send()
        .await
        .unwrap();
    let record = assert_attempt(&service, &response, 400, Outcome::Invalid).await;
    assert_eq!(record.action, "entry.create");
    assert_eq!(record.actor.id, "ada");
}

#[tokio::test]
async fn a_body_over_the_extractors_size_limit_is_recorded() {
    let service = Service::with(|b| b, |router| router.layer(DefaultBodyLimit::max(100))).await;
    let response = service
        .post("/entries")
        .json(&"x".repeat(1000))
        .send()
        .await
        .unwrap();
    assert_attempt(&service, &response, 413, Outcome::Invalid).await;
}

#[tokio::test]
async fn a_body_that_a_layer_rejects_before_the_handler_is_recorded() {
    let service = Service::with(
        |b| b,
        |router| router.layer(RequestBodyLimitLayer::new(100)),
    )
    .await;
    let response = service
        .post("/entries")
        .json(&"x".repeat(1000))
        .send()
        .await
        .unwrap();
    let record = assert_attempt(&service, &response, 413, Outcome::Invalid).await;
    assert_eq!(
        record.action, "entry.create",
        "the typed router knew the action"
    );
}

#[tokio::test]
async fn a_timeout_in_an_extractor_is_recorded() {
    let timeout =
        TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(50));
    let service = Service::with(|b| b, move |router| router.layer(timeout)).await;
    // The extractor waits for a body that never ends.
    let body = reqwest::Body::wrap_stream(futures_util::stream::pending::<
        Result<Vec<u8>, std::io::Error>,
    >());
    let response = service
        .post("/entries")
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .unwrap();
    let record = assert_attempt(&service, &response, 408, Outcome::TimedOut).await;
    assert_eq!(record.action, "entry.create");
}

#[tokio::test]
async fn a_timeout_in_the_handler_is_rolled_back_and_recorded() {
    let timeout =
        TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(2));
    let service = Service::with(|b| b, move |router| router.layer(timeout)).await;
    let entry = Entry::new(1);
    let response = service.send("/wait", &entry).await;
    assert_eq!(response.status(), 503);
    service.wait_for_records(1).await;
    let record = assert_attempt(&service, &response, 503, Outcome::TimedOut).await;
    assert_eq!(record.error_type.as_deref(), Some("timeout"));
    assert_eq!(record.resource_id, Some(entry.id));
}

#[tokio::test]
async fn a_panicking_extractor_is_recorded() {
    struct Panics;
    impl<S: Sync> axum::extract::FromRequestParts<S> for Panics {
        type Rejection = std::convert::Infallible;
        async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
            panic!("expected by the test");
        }
    }
    #[audited(action = "entry.guess")]
    async fn guess(tx: &mut Tx, _panics: Panics) -> StatusCode {
        tx.details("reached", true);
        StatusCode::OK
    }
    let service = Service::with(|b| b, |router| router.route("/guess", routing::post(guess))).await;
    let response = service.post("/guess").send().await;
    assert!(
        response.is_err(),
        "nothing catches that panic for the client: {response:?}"
    );
    service.wait_for_records(1).await;
    // The telemetry layer outside the audit layer responds to it, and only then drops the request.
    let telemetry = platform_observability::testing::Capture::start();
    let app = Router::new()
        .route("/guess", routing::post(guess))
        .layer(service.audit.layer())
        .layer(telemetry.layer());
    let address = serve(app.into()).await;
    let url = format!("http://{address}/guess");
    let response = service.client.post(url).header("x-user", "ada");
    assert_eq!(response.send().await.unwrap().status(), 500);
    service.wait_for_records(2).await;
    for record in service.all_records().await {
        assert_eq!(
            (record.action.as_str(), record.outcome, record.status),
            ("entry.guess", Outcome::Panicked, Some(500))
        );
        assert_eq!(record.error_type.as_deref(), Some("panic"));
    }
}

#[tokio::test]
async fn an_error_of_an_inner_service_is_not_recorded_as_a_disconnected_client() {
    use tower::ServiceExt;
    #[audited(action = "entry.guess")]
    async fn guess(tx: &mut Tx, _body: String) -> StatusCode {
        tx.details("reached", true);
        StatusCode::OK
    }
    let service = Service::start().await;
    let router: axum::Router = Router::new().route("/guess", routing::post(guess)).into();
    // As with a timeout outside the audit layer while an extractor is running.
    let failing = tower::service_fn(move |request: Request| {
        let mut response = Box::pin(router.clone().oneshot(request));
        async move {
            assert!(futures_util::poll!(&mut response).is_pending());
            Err::<Response, _>(std::io::Error::other("expected by the test"))
        }
    });
    let guarded = tower::Layer::layer(&service.audit.layer(), failing);
    let endless = futures_util::stream::pending::<Result<String, std::io::Error>>();
    let sent = Request::post("/guess")
        .header("x-user", "ada")
        .body(axum::body::Body::from_stream(endless))
        .unwrap();
    assert!(guarded.oneshot(sent).await.is_err());
    service.wait_for_records(1).await;
    let record = service.only_record().await;
    assert_eq!(
        (record.outcome, record.error_type.as_deref()),
        (Outcome::Failed, Some("service_failed"))
    );
}

/// Such as a service with a concurrency limit.
#[tokio::test]
async fn the_audit_layer_is_ready_only_when_the_inner_service_is_ready() {
    use std::task::{Context, Poll};

    #[derive(Clone)]
    struct Busy;
    impl tower::Service<Request> for Busy {
        type Response = Response;
        type Error = std::convert::Infallible;
        type Future = std::future::Pending<Result<Response, Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Pending
        }

        fn call(&mut self, _: Request) -> Self::Future {
            std::future::pending()
        }
    }
    let service = Service::start().await;
    let mut guarded = tower::Layer::layer(&service.audit.layer(), Busy);
    let ready = tower::ServiceExt::<Request>::ready(&mut guarded);
    assert!(futures_util::poll!(std::pin::pin!(ready)).is_pending());
}

/// As with a layer that retries failed requests.
#[tokio::test]
async fn each_retry_of_a_handler_writes_its_own_record() {
    static TRIES: AtomicUsize = AtomicUsize::new(0);
    fn fail_every_other_time() -> StatusCode {
        match TRIES.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        }
    }
    #[audited(action = "entry.change")]
    async fn change(tx: &mut Tx) -> StatusCode {
        tx.details("reached", true);
        fail_every_other_time()
    }
    #[audited(action = "entry.look", read)]
    async fn look() -> StatusCode {
        fail_every_other_time()
    }
    async fn retry(request: Request, next: Next) -> Response {
        let (parts, _) = request.into_parts();
        let request = || Request::from_parts(parts.clone(), axum::body::Body::empty());
        let response = next.clone().run(request()).await;
        match response.status() {
            StatusCode::SERVICE_UNAVAILABLE => next.run(request()).await,
            _ => response,
        }
    }
    for method in [reqwest::Method::POST, reqwest::Method::GET] {
        let service = Service::start().await;
        let entries = Router::new()
            .route("/entries", routing::post(change).get(look))
            .layer(from_fn(retry))
            .layer(service.audit.layer());
        let url = format!("http://{}/entries", serve(entries.into()).await);
        let sent = service.client.request(method, url).header("x-user", "ada");
        let response = sent.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let records = service.all_records().await;
        let outcomes: Vec<_> = records.iter().map(|it| it.outcome).collect();
        assert_eq!(outcomes, [Outcome::Failed, Outcome::Success]);
        assert_eq!(records[1].id, record_id(&response));
    }
}

#[tokio::test]
async fn the_response_to_a_failed_begin_does_not_wait_for_the_record_of_the_attempt() {
    let service = Service::on_pool(
        |options| options.acquire_timeout(std::time::Duration::from_secs(3)),
        |builder| builder.max_connections(1),
    )
    .await;
    // Recording the attempt waits for the connection, which is released after the response.
    let entry = Entry::new(2);
    let refused = service.send("/entries", &entry);
    let (waited, refused) = service.while_waiting("/wait", refused).await;
    assert_eq!(waited.status(), 201);
    assert_eq!(refused.status(), 503);
    service.wait_for_records(2).await;
    let record = service.record_of(&refused).await;
    assert_eq!(record.error_type.as_deref(), Some("begin_failed"));
    assert_eq!(service.audit.status().lost_attempts, 0);
}

#[tokio::test]
async fn a_lost_attempt_record_is_logged_and_does_not_change_the_response() {
    let service = Service::start().await;
    let events = platform_harness::events::capture();
    service.break_records().await;
    let response = service.send("/fail/409", &Entry::new(1)).await;
    assert_eq!(response.status(), 409);
    assert_eq!(service.audit.status().lost_attempts, 1);
    let events = events.text();
    let id = record_id(&response).to_string();
    let event = events
        .lines()
        .find(|line| line.contains("ERROR") && line.contains(&id));
    let event = event.unwrap_or_else(|| panic!("no ERROR event contains the record: {events}"));
    assert!(
        event.contains("entry.fail") && event.contains("only copy"),
        "{event}"
    );
    assert!(!events.contains("INSERT INTO"), "SQL in the log: {events}");
    assert!(!events.contains(IBAN), "personal data in the log: {events}");
}
