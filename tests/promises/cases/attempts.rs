//! Attempts that changed nothing are recorded too, exactly once, whatever stopped them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn};
use axum::response::{Redirect, Response};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use super::*;

/// Nothing changed, and one record says how it ended.
async fn attempted(
    service: &Service,
    answer: &reqwest::Response,
    status: u16,
    outcome: Outcome,
) -> AuditRecord {
    assert_eq!(answer.status(), status);
    let record = service.only_record().await;
    assert_eq!(
        record.id,
        record_id(answer),
        "the answer names the attempt's record"
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
        let answer = service.send(&format!("/fail/{status}"), &entry).await;
        let record = attempted(&service, &answer, status, outcome).await;
        assert_eq!(record.action, "entry.fail");
        assert_eq!(record.resource_id, Some(entry.id));
        assert_eq!(record.error_type, Some(status.to_string()));
    }
}

#[tokio::test]
async fn a_panic_is_rolled_back_recorded_and_answered() {
    let service = Service::start().await;
    let entry = Entry::new(1);
    let answer = service.send("/panic", &entry).await;
    let record = attempted(&service, &answer, 500, Outcome::Panicked).await;
    assert_eq!(record.error_type.as_deref(), Some("panic"));
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let body = answer.text().await.unwrap();
    assert!(!body.contains("as the test wants"), "{body}");
}

#[tokio::test]
async fn a_body_that_no_handler_ever_saw_is_recorded() {
    let service = Service::start().await;
    let answer = service
        .post("/entries")
        .header("content-type", "application/json")
        .body("{not json")
        .send()
        .await
        .unwrap();
    let record = attempted(&service, &answer, 400, Outcome::Invalid).await;
    assert_eq!(record.action, "entry.create");
    assert_eq!(record.actor.id, "ada");
}

#[tokio::test]
async fn a_body_over_the_extractors_limit_is_recorded() {
    let service = Service::with(|b| b, |router| router.layer(DefaultBodyLimit::max(100))).await;
    let answer = service
        .post("/entries")
        .json(&"x".repeat(1000))
        .send()
        .await
        .unwrap();
    attempted(&service, &answer, 413, Outcome::Invalid).await;
}

#[tokio::test]
async fn a_body_that_a_layer_refuses_before_any_handler_is_recorded() {
    let service = Service::with(
        |b| b,
        |router| router.layer(RequestBodyLimitLayer::new(100)),
    )
    .await;
    let answer = service
        .post("/entries")
        .json(&"x".repeat(1000))
        .send()
        .await
        .unwrap();
    let record = attempted(&service, &answer, 413, Outcome::Invalid).await;
    assert_eq!(
        record.action, "entry.create",
        "the typed router knew the action"
    );
}

#[tokio::test]
async fn a_refusal_by_an_authorising_layer_is_recorded_as_denied() {
    async fn refuse(_: Request, _: Next) -> StatusCode {
        StatusCode::FORBIDDEN
    }
    let service = Service::with(|b| b, |router| router.layer(from_fn(refuse))).await;
    let answer = service.send("/entries", &Entry::new(1)).await;
    let record = attempted(&service, &answer, 403, Outcome::Denied).await;
    assert_eq!(record.action, "entry.create");
    assert_eq!(record.actor.id, "ada", "who was refused");
    assert_eq!(record.route.as_deref(), Some("/entries"));
}

#[tokio::test]
async fn the_action_of_a_refused_request_is_known_under_nest_too() {
    async fn refuse(_: Request, _: Next) -> StatusCode {
        StatusCode::FORBIDDEN
    }
    let service = Service::with(
        |b| b,
        |router| Router::new().nest("/v1", router).layer(from_fn(refuse)),
    )
    .await;
    let answer = service.send("/v1/entries", &Entry::new(1)).await;
    let record = attempted(&service, &answer, 403, Outcome::Denied).await;
    assert_eq!(record.action, "entry.create");
    assert_eq!(record.path.as_deref(), Some("/v1/entries"));
}

#[tokio::test]
async fn nobody_known_is_answered_401_and_recorded_as_denied() {
    let service = Service::start().await;
    let url = format!("http://{}/entries", service.address);
    let answer = service
        .client
        .post(&url)
        .json(&Entry::new(1))
        .send()
        .await
        .unwrap();
    let record = attempted(&service, &answer, 401, Outcome::Denied).await;
    assert_eq!(record.actor, Actor::anonymous());
    assert!(answer.headers().contains_key("www-authenticate"));
    // An empty name is nobody as well.
    let answer = service
        .client
        .post(&url)
        .header("x-user", "")
        .json(&Entry::new(1))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn where_the_actor_is_optional_nobody_may_act() {
    let service = Service::start().await;
    let url = format!("http://{}/sign-up", service.address);
    let answer = service
        .client
        .post(&url)
        .json(&Entry::new(1))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(service.only_record().await.actor, Actor::anonymous());
}

#[tokio::test]
async fn a_missing_reason_is_answered_400_and_recorded() {
    let service = Service::start().await;
    for reason in [None, Some("  ")] {
        let mut request = service.request(reqwest::Method::DELETE, "/entries/1");
        if let Some(reason) = reason {
            request = request.header("audit-reason", reason);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 400);
        let record = service.record_of(&answer).await;
        assert_eq!(
            (record.action.as_str(), record.outcome),
            ("entry.delete", Outcome::Invalid)
        );
        assert!(answer.text().await.unwrap().contains("Audit-Reason"));
    }
}

#[tokio::test]
async fn a_time_out_before_the_handler_is_recorded() {
    let timeout =
        TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(50));
    let service = Service::with(|b| b, move |router| router.layer(timeout)).await;
    // A body that never ends keeps the extractor waiting.
    let body = reqwest::Body::wrap_stream(futures_util::stream::pending::<
        Result<Vec<u8>, std::io::Error>,
    >());
    let answer = service
        .post("/entries")
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .unwrap();
    let record = attempted(&service, &answer, 408, Outcome::TimedOut).await;
    assert_eq!(record.action, "entry.create");
}

#[tokio::test]
async fn a_time_out_in_the_handler_rolls_back_and_is_recorded() {
    let timeout =
        TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(2));
    let service = Service::with(|b| b, move |router| router.layer(timeout)).await;
    let entry = Entry::new(1);
    let answer = service.send("/wait", &entry).await;
    assert_eq!(answer.status(), 503);
    service.wait_for_records(1).await;
    let record = attempted(&service, &answer, 503, Outcome::TimedOut).await;
    assert_eq!(record.error_type.as_deref(), Some("timeout"));
    assert_eq!(record.resource_id, Some(entry.id));
}

#[tokio::test]
async fn a_panicking_extractor_is_recorded() {
    struct Panics;
    impl<S: Sync> axum::extract::FromRequestParts<S> for Panics {
        type Rejection = std::convert::Infallible;
        async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
            panic!("as the test wants");
        }
    }
    #[audited(action = "entry.guess")]
    async fn guess(tx: &mut Tx, _panics: Panics) -> StatusCode {
        tx.details("reached", true);
        StatusCode::OK
    }
    let service = Service::with(|b| b, |router| router.route("/guess", routing::post(guess))).await;
    let answer = service.post("/guess").send().await;
    assert!(
        answer.is_err(),
        "nothing catches that panic for the client: {answer:?}"
    );
    service.wait_for_records(1).await;
    // Telemetry, outside of the guard, answers for it, and drops the request only then.
    let telemetry = platform_observability::testing::Capture::start();
    let app = Router::new()
        .route("/guess", routing::post(guess))
        .layer(service.audit.layer())
        .layer(telemetry.layer());
    let address = serve(app.into()).await;
    let url = format!("http://{address}/guess");
    let answer = service.client.post(url).header("x-user", "ada");
    assert_eq!(answer.send().await.unwrap().status(), 500);
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
async fn an_error_of_what_is_inside_the_guard_is_no_client_that_hung_up() {
    use tower::ServiceExt;
    #[audited(action = "entry.guess")]
    async fn guess(tx: &mut Tx, _body: String) -> StatusCode {
        tx.details("reached", true);
        StatusCode::OK
    }
    let service = Service::start().await;
    let router: axum::Router = Router::new().route("/guess", routing::post(guess)).into();
    // As of a time-out that is answered outside, while an extractor is at work.
    let failing = tower::service_fn(move |request: Request| {
        let mut answer = Box::pin(router.clone().oneshot(request));
        async move {
            assert!(futures_util::poll!(&mut answer).is_pending());
            Err::<Response, _>(std::io::Error::other("as the test wants"))
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

/// Such as a limit on concurrent requests.
#[tokio::test]
async fn the_guard_takes_no_request_before_what_is_inside_is_ready() {
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

#[tokio::test]
async fn whoever_is_said_to_be_nobody_is_nobody() {
    let service = Service::with(
        |b| b,
        |router| router.layer(axum::Extension(Actor::anonymous())),
    )
    .await;
    let url = format!("http://{}/entries", service.address);
    let nobody = service.client.post(&url).json(&Entry::new(1));
    let answer = nobody.send().await.unwrap();
    attempted(&service, &answer, 401, Outcome::Denied).await;
    assert_eq!(service.entries().await, 0);
    // And hides nobody who is known otherwise.
    let answer = service.send("/entries", &Entry::new(1)).await;
    assert_eq!(answer.status(), 201);
    assert_eq!(service.record_of(&answer).await.actor.id, "ada");
}

/// A handler that a layer keeps from being reached.
#[audited(action = "entry.archive")]
async fn archive(tx: &mut Tx) -> StatusCode {
    tx.details("reached", true);
    StatusCode::OK
}

async fn refuse(_: Request, _: Next) -> StatusCode {
    StatusCode::FORBIDDEN
}

#[tokio::test]
async fn the_action_is_that_of_the_nested_route_also_where_the_guard_is_nested() {
    let service = Service::start().await;
    let inner = Router::new()
        .route("/entries", routing::post(archive))
        .layer(from_fn(refuse))
        .layer(service.audit.layer());
    let outer = Router::new()
        .route("/entries", routing::post(super::create))
        .nest("/archive", inner);
    let app = axum::Router::new().nest("/v1", outer.into());
    let address = serve(app).await;
    let url = format!("http://{address}/v1/archive/entries");
    let sent = service.client.post(url).header("x-user", "ada");
    let answer = sent.send().await.unwrap();
    let record = attempted(&service, &answer, 403, Outcome::Denied).await;
    assert_eq!(record.action, "entry.archive");
    assert_eq!(record.route.as_deref(), Some("/v1/archive/entries"));
}

/// As a layer does that tries once more what failed.
#[tokio::test]
async fn a_handler_that_is_called_again_leaves_a_record_each_time() {
    static TRIES: AtomicUsize = AtomicUsize::new(0);
    fn tried() -> StatusCode {
        match TRIES.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        }
    }
    #[audited(action = "entry.change")]
    async fn change(tx: &mut Tx) -> StatusCode {
        tx.details("reached", true);
        tried()
    }
    #[audited(action = "entry.look", read)]
    async fn look() -> StatusCode {
        tried()
    }
    async fn again(request: Request, next: Next) -> Response {
        let (parts, _) = request.into_parts();
        let request = || Request::from_parts(parts.clone(), axum::body::Body::empty());
        let answer = next.clone().run(request()).await;
        match answer.status() {
            StatusCode::SERVICE_UNAVAILABLE => next.run(request()).await,
            _ => answer,
        }
    }
    for method in [reqwest::Method::POST, reqwest::Method::GET] {
        let service = Service::start().await;
        let entries = Router::new()
            .route("/entries", routing::post(change).get(look))
            .layer(from_fn(again))
            .layer(service.audit.layer());
        let url = format!("http://{}/entries", serve(entries.into()).await);
        let sent = service.client.request(method, url).header("x-user", "ada");
        let answer = sent.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let records = service.all_records().await;
        let outcomes: Vec<_> = records.iter().map(|it| it.outcome).collect();
        assert_eq!(outcomes, [Outcome::Failed, Outcome::Success]);
        assert_eq!(records[1].id, record_id(&answer));
    }
}

#[tokio::test]
async fn a_route_is_known_wherever_its_router_is_mounted() {
    let refusing = |path: &str| {
        let router = Router::new().route(path, routing::post(archive));
        router.layer(from_fn(refuse))
    };
    let other = || Router::new().route("/entries", routing::post(super::create));
    for (router, path) in [
        (axum::Router::new().nest("/v1", refusing("/").into()), "/v1"),
        (
            axum::Router::new().nest("/v1/", refusing("/").into()),
            "/v1/",
        ),
        (other().nest("/v1/", refusing("/")).into(), "/v1/"),
        (
            other().nest("/v1/", refusing("/archive")).into(),
            "/v1/archive",
        ),
        (
            other()
                .merge_axum(axum::Router::from(refusing("/archive")))
                .into(),
            "/archive",
        ),
        (
            other()
                .merge_axum(axum::Router::new().nest("/v1", refusing("/").into()))
                .into(),
            "/v1",
        ),
    ] {
        let service = Service::start().await;
        let address = serve(router.layer(service.audit.layer())).await;
        let url = format!("http://{address}{path}");
        let sent = service.client.post(url).header("x-user", "ada");
        let answer = sent.send().await.unwrap();
        let record = attempted(&service, &answer, 403, Outcome::Denied).await;
        assert_eq!(record.action, "entry.archive");
        assert_eq!(record.route.as_deref(), Some(path));
    }
}

#[tokio::test]
async fn an_extractor_that_leads_to_where_one_signs_in_has_refused() {
    struct SignedIn;

    impl<S: Sync> FromRequestParts<S> for SignedIn {
        type Rejection = Redirect;

        async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Redirect> {
            Err(Redirect::to("/sign-in"))
        }
    }

    #[audited(action = "entry.archive")]
    async fn archive(tx: &mut Tx, _signed_in: SignedIn) -> StatusCode {
        tx.details("reached", true);
        StatusCode::OK
    }
    let service = Service::start().await;
    let entries = Router::new()
        .route("/entries", routing::post(archive))
        .layer(service.audit.layer());
    let url = format!("http://{}/entries", serve(entries.into()).await);
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let sent = client.build().unwrap().post(url).header("x-user", "ada");
    let answer = sent.send().await.unwrap();
    assert_eq!(answer.headers()["location"], "/sign-in");
    attempted(&service, &answer, 303, Outcome::Denied).await;
    assert_eq!(service.audit.status().violations, 0);
}

#[tokio::test]
async fn a_request_that_could_not_begin_is_answered_before_its_attempt_is_recorded() {
    let service = Service::on_pool(
        |options| options.acquire_timeout(std::time::Duration::from_secs(3)),
        |builder| builder.max_connections(1),
    )
    .await;
    let entry = Entry::new(1);
    let holding = service.send("/wait", &entry);
    let refused = async {
        service.gates.inside.notified().await;
        let answer = service.send("/entries", &Entry::new(2)).await;
        assert_eq!(answer.status(), 503);
        // The attempt still waits for the connection, which is free only now.
        service.gates.go_on.notify_one();
        answer
    };
    let (held, refused) = futures_util::future::join(holding, refused).await;
    assert_eq!(held.status(), 201);
    service.wait_for_records(2).await;
    let record = service.record_of(&refused).await;
    assert_eq!(record.error_type.as_deref(), Some("begin_failed"));
    assert_eq!(service.audit.status().lost_attempts, 0);
}

#[tokio::test]
async fn what_is_not_there_leaves_no_record() {
    let service = Service::start().await;
    assert_eq!(service.post("/nowhere").send().await.unwrap().status(), 404);
    assert_eq!(
        service
            .request(reqwest::Method::PATCH, "/entries")
            .send()
            .await
            .unwrap()
            .status(),
        405
    );
    assert_eq!(service.records().await, 0);
    assert_eq!(service.audit.status().violations, 0);
}

/// As some layers do, so that nobody learns what there is.
#[tokio::test]
async fn what_a_layer_hides_leaves_no_record_either() {
    for hidden in [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED] {
        let hide = from_fn(move |_: Request, _: Next| async move { hidden });
        let service = Service::with(|b| b, |router| router.layer(hide)).await;
        let answer = service.send("/entries", &Entry::new(1)).await;
        assert_eq!(answer.status(), hidden);
        assert_eq!(answer.headers().get("audit-record-id"), None);
        assert_eq!(service.records().await, 0);
        assert_eq!(service.audit.status().violations, 0);
    }
}

#[tokio::test]
async fn losing_the_record_of_an_attempt_changes_no_response_and_is_loud() {
    let service = Service::start().await;
    let events = platform_harness::events::capture();
    service.break_records().await;
    let answer = service.send("/fail/409", &Entry::new(1)).await;
    assert_eq!(answer.status(), 409);
    assert_eq!(service.audit.status().lost_attempts, 1);
    let events = events.text();
    let id = record_id(&answer).to_string();
    let loud = events
        .lines()
        .find(|line| line.contains("ERROR") && line.contains(&id));
    let loud = loud.unwrap_or_else(|| panic!("no ERROR event holds the record: {events}"));
    assert!(
        loud.contains("entry.fail") && loud.contains("all that is left"),
        "{loud}"
    );
    assert!(!events.contains("INSERT INTO"), "SQL in the log: {events}");
    assert!(!events.contains(IBAN), "personal data in the log: {events}");
}

/// Which of several reasons was meant, a record could not say.
#[tokio::test]
async fn a_second_reason_is_refused_and_not_dropped() {
    let service = Service::start().await;
    let answer = service
        .post("/entries")
        .header("audit-reason", "ticket 1")
        .header("audit-reason", "ticket 2")
        .json(&Entry::new(1))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let record = service.record_of(&answer).await;
    assert_eq!((record.outcome, record.reason), (Outcome::Invalid, None));
    let body = answer.text().await.unwrap();
    assert!(body.contains("several headers Audit-Reason"), "{body}");
    assert_eq!(service.entries().await, 0);
}

#[tokio::test]
async fn a_record_says_which_headers_it_holds_the_first_of() {
    let service = Service::start().await;
    let answer = service
        .post("/entries")
        .header("x-request-id", "first")
        .header("x-request-id", "second")
        .header("user-agent", "one")
        .header("user-agent", "two")
        .json(&Entry::new(1))
        .send()
        .await
        .unwrap();
    let record = service.record_of(&answer).await;
    assert_eq!(record.request_id.as_deref(), Some("first"));
    assert_eq!(record.user_agent.as_deref(), Some("one"));
    assert_eq!(record.cut, ["request_id", "user_agent"]);
    let answer = service
        .post("/entries")
        .header("x-request-id", "only")
        .header("user-agent", "one")
        .json(&Entry::new(2))
        .send()
        .await
        .unwrap();
    assert!(service.record_of(&answer).await.cut.is_empty());
}
