use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderName, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanKind, TraceContextExt};
use opentelemetry::{Array, Value};
use opentelemetry_sdk::trace::Sampler;
use tower::ServiceExt;

use super::{ForwardedBy, HttpLayer, Methods, Sampling};
use crate::propagation::Propagation;
use crate::testing::{Capture, Point, Span};

const DURATION: &str = "http.server.request.duration";
const ACTIVE: &str = "http.server.active_requests";
const REQUEST_SIZE: &str = "http.server.request.body.size";
const RESPONSE_SIZE: &str = "http.server.response.body.size";

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Sends `request` through `layer`, and reads the answer whole.
async fn send(layer: HttpLayer, router: Router, request: Request<Body>) -> (StatusCode, String) {
    let answer = router.layer(layer).oneshot(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn request(method: &str, uri: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "ledger.example:8443")
        .body(Body::empty())
        .unwrap()
}

fn with(mut request: Request<Body>, headers: &[(&'static str, &str)]) -> Request<Body> {
    for (name, value) in headers {
        let name = HeaderName::from_static(name);
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

fn only_span(capture: &Capture) -> Span {
    let mut spans = capture.spans();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    spans.remove(0)
}

fn duration(capture: &Capture) -> Point {
    let point = capture.point(DURATION);
    assert_eq!(point.count, 1);
    assert_eq!(point.bounds.len(), 14, "the advised boundaries");
    point
}

/// How many requests are active, by all attributes together.
fn active(capture: &Capture) -> f64 {
    capture.points(ACTIVE).iter().map(|point| point.sum).sum()
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

#[tokio::test]
async fn a_request_is_a_server_span_by_the_conventions() {
    let capture = Capture::start();
    let entries = Router::new().route(
        "/entries/{id}",
        post(async || (StatusCode::CREATED, "made")),
    );
    let mut sent = with(
        request("POST", "/v1/entries/7?page=2&token=secret"),
        &[
            ("user-agent", "tests/1"),
            ("x-request-id", "mine"),
            ("content-length", "3"),
        ],
    );
    *sent.body_mut() = Body::from("abc");
    let layer = capture.layer().record_query_values_of(["page", "token"]);
    let (status, _) = send(layer, Router::new().nest("/v1", entries), sent).await;
    assert_eq!(status, 201);
    let span = capture.span("POST /v1/entries/{id}");
    assert_eq!(span.0.span_kind, SpanKind::Server);
    assert!(!span.failed());
    let id = Value::Array(Array::String(vec!["mine".into()]));
    span.has("http.request.method", "POST")
        .has("http.route", "/v1/entries/{id}")
        .has("http.response.status_code", 201)
        .has("url.path", "/v1/entries/7")
        .has("url.query", "page=2&token=REDACTED")
        .has("url.scheme", "http")
        .has("server.address", "ledger.example")
        .has("server.port", 8443)
        .has("network.protocol.version", "1.1")
        .has("user_agent.original", "tests/1")
        .has("http.request.header.x-request-id", id)
        .lacks("error.type");
    assert_eq!(
        span.0.attributes.len(),
        11,
        "and no other: {:#?}",
        span.0.attributes
    );

    for (instrument, sum) in [(REQUEST_SIZE, 3.0), (RESPONSE_SIZE, 4.0)] {
        let size = capture.point(instrument);
        size.has("http.route", "/v1/entries/{id}");
        assert_eq!((size.count, size.sum), (1, sum), "{instrument}");
    }
    let duration = duration(&capture);
    duration
        .has("http.request.method", "POST")
        .has("http.route", "/v1/entries/{id}")
        .has("http.response.status_code", 201)
        .has("url.scheme", "http")
        .has("network.protocol.version", "1.1")
        .lacks("error.type");
    assert_eq!(duration.attributes.len(), 5);
}

#[tokio::test]
async fn an_unrouted_request_has_no_route_and_an_unknown_method_is_other() {
    let capture = Capture::start();
    send(capture.layer(), Router::new(), request("BREW", "/pot")).await;
    capture
        .span("HTTP")
        .has("http.request.method", "_OTHER")
        .has("http.request.method_original", "BREW")
        .lacks("http.route");
    duration(&capture)
        .has("http.request.method", "_OTHER")
        .lacks("http.route");
}

#[tokio::test]
async fn the_methods_that_are_told_apart_may_be_chosen() {
    for (method, name) in [("PURGE", "PURGE"), ("GET", "_OTHER"), ("purge", "_OTHER")] {
        let capture = Capture::start();
        let layer = capture
            .layer()
            .methods(Methods::only(vec!["PURGE".parse().unwrap()]));
        send(layer, Router::new(), request(method, "/")).await;
        only_span(&capture).has("http.request.method", name);
        duration(&capture).has("http.request.method", name);
    }
}

#[tokio::test]
async fn only_a_5xx_is_an_error_of_the_server() {
    for (status, error) in [(404_u16, false), (503, true)] {
        let capture = Capture::start();
        let answer = async move || StatusCode::from_u16(status).unwrap();
        let router = Router::new().route("/", get(answer));
        send(capture.layer(), router, request("GET", "/")).await;
        let span = only_span(&capture);
        assert_eq!(span.failed(), error);
        if error {
            span.has("error.type", status.to_string());
            duration(&capture).has("error.type", status.to_string());
        } else {
            span.lacks("error.type");
            duration(&capture).lacks("error.type");
        }
    }
}

#[tokio::test]
async fn requests_are_active_until_their_end_however_they_end() {
    async fn panics() {
        panic!("as the test wants");
    }
    let capture = Capture::start();
    let router = hello()
        .route("/panics", get(panics))
        .route("/waits", get(std::future::pending::<()>))
        .route(
            "/streams",
            get(async || Body::from_stream(stream::pending::<Result<Bytes, Infallible>>())),
        )
        .layer(capture.layer());
    for path in ["/", "/panics"] {
        let answer = router.clone().oneshot(request("GET", path)).await.unwrap();
        let expected = if path == "/" { 1.0 } else { 0.0 };
        assert_eq!(active(&capture), expected, "{path}: as long as its body");
        answer.into_body().collect().await.unwrap();
        assert_eq!(active(&capture), 0.0, "{path}");
    }
    let mut waits = Box::pin(router.clone().oneshot(request("GET", "/waits")));
    assert!(futures_util::poll!(&mut waits).is_pending());
    let streams = router.clone().oneshot(request("GET", "/streams")).await;
    assert_eq!(active(&capture), 2.0);
    drop(waits);
    assert_eq!(active(&capture), 1.0);
    drop(streams);
    assert_eq!(active(&capture), 0.0);
    let point = capture.point(ACTIVE);
    assert_eq!(point.has("url.scheme", "http").attributes.len(), 2);
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_before_and_during_the_response_but_not_after() {
    let slow = || {
        let first = stream::once(async { Ok::<_, Infallible>(Bytes::from("first")) });
        Body::from_stream(first.chain(stream::pending()))
    };
    let before = Router::new().route("/", get(std::future::pending::<()>));
    let during = Router::new().route("/", get(async move || slow()));
    for (moment, router) in [("before", before), ("during", during), ("after", hello())] {
        let capture = Capture::start();
        let mut answer = Box::pin(router.layer(capture.layer()).oneshot(request("GET", "/")));
        match futures_util::poll!(&mut answer) {
            std::task::Poll::Pending => drop(answer),
            std::task::Poll::Ready(answer) => {
                let mut body = answer.unwrap().into_body();
                body.frame().await.unwrap().unwrap();
                drop(body);
            }
        }
        let span = capture.span("GET /");
        let point = duration(&capture);
        if moment == "after" {
            span.lacks("error.type");
            point.lacks("error.type");
        } else {
            assert!(span.failed());
            span.has("error.type", "cancelled");
            point.has("error.type", "cancelled");
        }
        if moment == "before" {
            assert_eq!(capture.points(RESPONSE_SIZE).len(), 0);
        }
        if moment == "during" {
            span.has("http.response.status_code", 200);
            assert_eq!(capture.point(RESPONSE_SIZE).sum, 5.0);
        }
    }
}

#[tokio::test]
async fn a_panic_of_the_handler_is_answered_and_logged_without_its_message() {
    async fn panics() {
        let iban = "DE02120300000000202051";
        panic!("no such account: {iban}");
    }
    let capture = Capture::start();
    let router = Router::new().route("/", get(panics));
    let answer = router
        .layer(capture.layer())
        .oneshot(request("GET", "/"))
        .await
        .unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert!(answer.headers().contains_key("x-request-id"));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let problem = r#"{"type":"about:blank","title":"Internal Server Error","status":500}"#;
    assert_eq!(body, problem);
    let span = capture.span("GET /");
    span.has("error.type", "panic")
        .has("http.response.status_code", 500);
    assert!(span.failed());
    duration(&capture)
        .has("error.type", "panic")
        .has("http.response.status_code", 500);
    let logs = capture.logs();
    assert_eq!(logs.len(), 1, "{logs:#?}");
    assert!(logs[0].text.contains("panicked"));
    assert_eq!(
        logs[0].trace_id,
        Some(span.0.span_context.trace_id().to_string())
    );
    assert!(!format!("{logs:?}{span:?}").contains("DE02"));
}

#[tokio::test]
async fn a_service_that_panics_before_its_future_is_answered_too() {
    let capture = Capture::start();
    let service = tower::service_fn(
        |_: Request<Body>| -> std::future::Ready<Result<Response, Infallible>> {
            panic!("as the test wants")
        },
    );
    let service = tower_layer::Layer::layer(&capture.layer(), service);
    let answer = service.oneshot(request("GET", "/")).await.unwrap();
    assert_eq!(answer.status(), 500);
    only_span(&capture).has("error.type", "panic");
}

#[tokio::test]
async fn a_body_that_panics_is_marked() {
    let capture = Capture::start();
    let body = || {
        Body::from_stream(stream::poll_fn(
            |_| -> std::task::Poll<Option<Result<Bytes, Infallible>>> {
                panic!("as the test wants")
            },
        ))
    };
    let router = Router::new().route("/", get(async move || body()));
    let answer = router
        .layer(capture.layer())
        .oneshot(request("GET", "/"))
        .await
        .unwrap();
    let read = tokio::spawn(answer.into_body().collect()).await;
    assert!(read.unwrap_err().is_panic());
    capture
        .span("GET /")
        .has("error.type", "panic")
        .has("http.response.status_code", 200);
    assert_eq!(active(&capture), 0.0);
}

#[tokio::test]
async fn a_body_that_fails_is_an_error_by_its_type() {
    let capture = Capture::start();
    let fails =
        async || Body::from_stream(stream::once(async { Err::<Bytes, _>(std::fmt::Error) }));
    let router = Router::new().route("/", get(fails)).layer(capture.layer());
    let answer = router.oneshot(request("GET", "/")).await.unwrap();
    answer.into_body().collect().await.unwrap_err();
    let span = capture.span("GET /");
    assert!(span.failed());
    span.has("error.type", "axum_core::error::Error")
        .has("http.response.status_code", 200);
    duration(&capture).has("error.type", "axum_core::error::Error");
}

#[tokio::test]
async fn the_span_covers_the_body_and_the_latency_does_not() {
    let capture = Capture::start();
    let late = async || {
        Body::from_stream(stream::once(async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            let context = opentelemetry::Context::current();
            Ok::<_, Infallible>(context.span().span_context().span_id().to_string())
        }))
    };
    let (_, inside) = send(
        capture.layer(),
        Router::new().route("/", get(late)),
        request("GET", "/"),
    )
    .await;
    let span = capture.span("GET /");
    assert_eq!(
        inside,
        span.0.span_context.span_id().to_string(),
        "the body is made inside the span"
    );
    let lasted = span.0.end_time.duration_since(span.0.start_time).unwrap();
    assert!(lasted >= Duration::from_millis(60), "{lasted:?}");
    let seconds = duration(&capture).sum;
    assert!(
        seconds < lasted.as_secs_f64() - 0.05,
        "{seconds} of {lasted:?}"
    );
}

#[tokio::test]
async fn bodies_of_unknown_length_are_counted_as_they_go_by() {
    let capture = Capture::start();
    let echo = post(async |body: Body| body);
    let chunks = ["ab", "", "cde"].map(|chunk| Ok::<_, Infallible>(Bytes::from(chunk)));
    let mut sent = request("POST", "/");
    *sent.body_mut() = Body::from_stream(stream::iter(chunks));
    let (_, body) = send(capture.layer(), Router::new().route("/", echo), sent).await;
    assert_eq!(body, "abcde");
    assert_eq!(capture.point(REQUEST_SIZE).sum, 5.0);
    assert_eq!(capture.point(RESPONSE_SIZE).sum, 5.0);
}

#[tokio::test]
async fn a_response_without_a_body_ends_with_its_head() {
    let capture = Capture::start();
    // As a proxy answers that copies the headers it got.
    let empty = async || {
        let body = stream::pending::<Result<Bytes, Infallible>>();
        ([("content-length", "0")], Body::from_stream(body))
    };
    let router = hello()
        .route("/none", get(async || StatusCode::NO_CONTENT))
        .route("/empty", get(empty))
        .layer(capture.layer());
    let empty = router.clone().oneshot(request("GET", "/empty"));
    let empty = empty.await.unwrap();
    let none = router
        .clone()
        .oneshot(request("GET", "/none"))
        .await
        .unwrap();
    let head = router.oneshot(request("HEAD", "/")).await.unwrap();
    drop((none, head, empty));
    for name in ["GET /none", "HEAD /", "GET /empty"] {
        capture.span(name).lacks("error.type");
    }
}

#[tokio::test]
async fn the_callers_trace_is_continued_and_visible_inside() {
    let capture = Capture::start();
    let inside = get(async || {
        tracing::info_span!("inner").in_scope(|| tracing::info!("seen"));
        let context = opentelemetry::Context::current();
        context.span().span_context().span_id().to_string()
    });
    let sent = with(request("GET", "/"), &[("traceparent", PARENT)]);
    let (_, seen) = send(capture.layer(), Router::new().route("/", inside), sent).await;
    let span = capture.span("GET /").0;
    assert_eq!(
        span.span_context.trace_id().to_string(),
        "0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(
        seen,
        span.span_context.span_id().to_string(),
        "the handler runs inside the span"
    );
    let inner = capture.span("inner").0;
    assert_eq!(
        inner.parent_span_id,
        span.span_context.span_id(),
        "and so do tracing's spans"
    );
    assert_eq!(
        inner.attributes,
        [],
        "of which nothing is said but what the code says"
    );
    assert_eq!(
        capture.logs()[0].trace_id.as_deref(),
        Some("0af7651916cd43dd8448eb211c80319c")
    );
}

#[tokio::test]
async fn where_nothing_is_traced_the_callers_trace_goes_on_unless_anybody_may_call() {
    let capture = Capture::start();
    let propagation = Propagation::new(true, true);
    let untraced = || {
        let propagation = propagation.clone();
        HttpLayer::new(
            &capture.meter(),
            None,
            propagation,
            Sampling::default(),
            false,
        )
    };
    let inside = async || {
        let mut sent = HashMap::new();
        let context = opentelemetry::Context::current();
        Propagation::new(true, true).inject_context(&context, &mut sent);
        format!("{:?} {:?}", sent.get("traceparent"), sent.get("baggage"))
    };
    for (layer, expected) in [
        (untraced(), format!("Some({PARENT:?}) Some(\"tenant=t1\")")),
        (untraced().public_endpoint(), "None None".to_owned()),
    ] {
        let sent = [("traceparent", PARENT), ("baggage", "tenant=t1")];
        let sent = with(request("GET", "/"), &sent);
        let (_, seen) = send(layer, Router::new().route("/", get(inside)), sent).await;
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_public_endpoint_starts_a_trace_and_links_the_callers() {
    let capture = Capture::start();
    let sent = with(
        request("GET", "/"),
        &[("traceparent", PARENT), ("baggage", "user=eve")],
    );
    let inside = get(async || {
        let context = opentelemetry::Context::current();
        opentelemetry::baggage::BaggageExt::baggage(&context)
            .len()
            .to_string()
    });
    let layer = capture.layer().public_endpoint();
    let (_, baggage) = send(layer, Router::new().route("/", inside), sent).await;
    assert_eq!(baggage, "0", "a stranger's baggage is not carried");
    let span = capture.span("GET /").0;
    assert_ne!(
        span.span_context.trace_id().to_string(),
        "0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(span.parent_span_id, opentelemetry::SpanId::INVALID);
    let links: Vec<_> = span
        .links
        .iter()
        .map(|link| link.span_context.span_id().to_string())
        .collect();
    assert_eq!(links, ["b7ad6b7169203331"]);
}

#[tokio::test]
async fn the_trace_id_is_answered_when_asked_for() {
    let capture = Capture::start();
    let plain = hello()
        .layer(capture.layer())
        .oneshot(request("GET", "/"))
        .await
        .unwrap();
    assert!(!plain.headers().contains_key("traceresponse"));
    let layer = capture.layer().answer_trace_id();
    let sent = with(request("GET", "/"), &[("traceparent", PARENT)]);
    let told = hello().layer(layer).oneshot(sent).await.unwrap();
    let text = told.headers()["traceresponse"].to_str().unwrap().to_owned();
    told.into_body().collect().await.unwrap();
    let span = capture.spans().pop().unwrap().0.span_context.span_id();
    assert_eq!(
        text,
        format!("00-0af7651916cd43dd8448eb211c80319c-{span}-01")
    );
}

#[tokio::test]
async fn only_named_headers_are_recorded_and_never_a_secret() {
    let capture = Capture::start();
    let name = HeaderName::from_static;
    let secret = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
    ]
    .map(name);
    let layer = capture
        .layer()
        .record_request_headers(secret.iter().cloned().chain([name("x-tenant")]))
        .record_request_headers([name("x-tenant"), name("x-request-id")])
        .record_response_headers(
            secret
                .iter()
                .cloned()
                .chain([name("x-shard"), name("x-none")]),
        );
    let router = Router::new().route(
        "/",
        get(async || {
            (
                [
                    ("set-cookie", "s3cret"),
                    ("x-shard", "7"),
                    ("x-other", "s3cret"),
                ],
                (),
            )
        }),
    );
    let sent = with(
        request("GET", "/"),
        &[
            ("authorization", "s3cret"),
            ("cookie", "s3cret"),
            ("x-tenant", "a"),
            ("x-tenant", "b"),
        ],
    );
    send(layer, router, sent).await;
    let span = capture.span("GET /");
    let list = |values: &[&'static str]| {
        Value::Array(Array::String(
            values.iter().map(|value| (*value).into()).collect(),
        ))
    };
    span.has("http.request.header.x-tenant", list(&["a", "b"]))
        .has("http.response.header.x-shard", list(&["7"]))
        .lacks("http.response.header.x-none");
    let span = format!("{span:?}");
    assert!(!span.contains("s3cret"));
    for once in ["header.x-tenant", "header.x-request-id"] {
        assert_eq!(span.matches(once).count(), 1, "{span}");
    }
}

#[tokio::test]
async fn the_request_id_reaches_the_handler_and_returns() {
    let capture = Capture::start();
    let echo = get(async |headers: axum::http::HeaderMap| {
        headers["x-request-id"].to_str().unwrap().to_owned()
    });
    let router = Router::new().route("/", echo).layer(capture.layer());
    let made = router.clone().oneshot(request("GET", "/")).await.unwrap();
    let id = made.headers()["x-request-id"].clone();
    let body = made.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, id.as_bytes());
    let sent = with(request("GET", "/"), &[("x-request-id", "mine")]);
    let kept = router.oneshot(sent).await.unwrap();
    assert_eq!(kept.headers()["x-request-id"], "mine");
}

#[tokio::test]
async fn without_a_subscriber_requests_are_traced_and_measured_all_the_same() {
    let capture = Capture::start();
    let none = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
    send(capture.layer(), hello(), request("GET", "/")).await;
    drop(none);
    capture.span("GET /").has("http.response.status_code", 200);
    duration(&capture).has("http.response.status_code", 200);
}

#[tokio::test]
async fn a_request_that_is_not_sampled_is_measured_and_still_has_a_context() {
    let capture = Capture::sampled_by(Sampler::AlwaysOff);
    let inside = get(async || {
        let context = opentelemetry::Context::current();
        let span = context.span();
        format!("{} {}", span.span_context().is_valid(), span.is_recording())
    });
    let (_, seen) = send(
        capture.layer(),
        Router::new().route("/", inside),
        request("GET", "/"),
    )
    .await;
    assert_eq!(seen, "true false");
    assert!(capture.spans().is_empty());
    duration(&capture).has("http.response.status_code", 200);
}

#[tokio::test]
async fn a_caller_that_was_not_sampled_is_followed() {
    let capture = Capture::sampled_by(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)));
    let parent = PARENT.replace("-01", "-00");
    let sent = with(request("GET", "/"), &[("traceparent", &parent)]);
    send(capture.layer(), Router::new(), sent).await;
    assert!(capture.spans().is_empty());
}

#[tokio::test]
async fn the_servers_address_is_taken_only_from_a_valid_host() {
    for (host, address, port) in [
        ("ledger.example", Some("ledger.example"), None),
        ("[::1]:80", Some("::1"), Some(80)),
        ("[::1]", Some("::1"), None),
        ("ledger.example:", Some("ledger.example"), None),
        ("ledger.example:99999", None, None),
        ("ledger.example:http", None, None),
        ("[::1", None, None),
        ("[::1]x", None, None),
        (":80", None, None),
        ("a/b", None, None),
        ("user@ledger.example", None, None),
        ("not a host", None, None),
    ] {
        let capture = Capture::start();
        let mut sent = request("GET", "/");
        sent.headers_mut().insert("host", host.parse().unwrap());
        send(capture.layer(), Router::new(), sent).await;
        let span = only_span(&capture);
        assert_eq!(
            span.get("server.address"),
            address.map(Value::from).as_ref(),
            "{host}"
        );
        assert_eq!(
            span.get("server.port"),
            port.map(Value::I64).as_ref(),
            "{host}"
        );
    }
}

#[tokio::test]
async fn http_3_is_version_3() {
    let capture = Capture::start();
    let mut sent = request("GET", "https://ledger.example/entries");
    *sent.version_mut() = axum::http::Version::HTTP_3;
    send(capture.layer(), Router::new(), sent).await;
    only_span(&capture).has("network.protocol.version", "3");
    duration(&capture).has("network.protocol.version", "3");
}

#[tokio::test]
async fn http_2_is_version_2_with_its_scheme_and_authority() {
    let capture = Capture::start();
    let mut sent = request("GET", "https://ledger.example:444/entries");
    *sent.version_mut() = axum::http::Version::HTTP_2;
    sent.headers_mut().remove("host");
    send(capture.layer(), Router::new(), sent).await;
    only_span(&capture)
        .has("network.protocol.version", "2")
        .has("url.scheme", "https")
        .has("server.address", "ledger.example")
        .has("server.port", 444);
    duration(&capture).has("url.scheme", "https");
}

#[tokio::test]
async fn what_the_client_is_and_asked_for_is_the_connections_or_what_a_trusted_proxy_says() {
    let peer: std::net::SocketAddr = "192.0.2.7:5123".parse().unwrap();
    for (connected, trusted, client) in [
        (false, false, None),
        (true, false, Some("192.0.2.7")),
        (false, true, None),
        (true, true, Some("203.0.113.9")),
    ] {
        let capture = Capture::start();
        let told = [
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example:444"),
        ];
        let mut sent = with(request("GET", "/"), &told);
        if connected {
            sent.extensions_mut().insert(ConnectInfo(peer));
        }
        let mut layer = capture.layer();
        if trusted {
            let networks = ["192.0.2.0/24".parse().unwrap()];
            layer = layer.trusted_proxies(networks, ForwardedBy::XForwarded);
        }
        send(layer, Router::new(), sent).await;
        let span = only_span(&capture);
        assert_eq!(span.get("client.address"), client.map(Value::from).as_ref());
        let network = connected.then(|| Value::from("192.0.2.7"));
        assert_eq!(span.get("network.peer.address"), network.as_ref());
        assert_eq!(span.get("network.peer.port").is_some(), connected);
        let (scheme, host, port) = match connected && trusted {
            true => ("https", "shop.example", 444),
            false => ("http", "ledger.example", 8443),
        };
        span.has("url.scheme", scheme)
            .has("server.address", host)
            .has("server.port", port);
        duration(&capture).has("url.scheme", scheme);
    }
}

#[tokio::test]
async fn a_host_that_is_none_leaves_the_one_that_was_sent() {
    let capture = Capture::start();
    let told = [("x-forwarded-host", "<no host>")];
    let mut sent = with(request("GET", "/"), &told);
    let peer: std::net::SocketAddr = "192.0.2.7:5123".parse().unwrap();
    sent.extensions_mut().insert(ConnectInfo(peer));
    let networks = ["192.0.2.0/24".parse().unwrap()];
    let layer = capture.layer();
    let layer = layer.trusted_proxies(networks, ForwardedBy::XForwarded);
    send(layer, Router::new(), sent).await;
    only_span(&capture).has("server.address", "ledger.example");
}

#[tokio::test]
async fn inside_a_nested_router_the_path_and_the_route_are_whole() {
    let capture = Capture::start();
    let inner = Router::new()
        .route("/entries/{id}", get(async || ()))
        .layer(capture.layer());
    let router = Router::new().nest("/v1", inner);
    router
        .oneshot(request("GET", "/v1/entries/7"))
        .await
        .unwrap();
    only_span(&capture)
        .has("http.route", "/v1/entries/{id}")
        .has("url.path", "/v1/entries/7");
}

#[tokio::test]
async fn a_merged_router_keeps_its_routes() {
    let capture = Capture::start();
    let other = Router::new().route("/other/{id}", get(async || ()));
    send(
        capture.layer(),
        hello().merge(other),
        request("GET", "/other/1"),
    )
    .await;
    only_span(&capture).has("http.route", "/other/{id}");
}

#[tokio::test]
async fn routes_beyond_those_that_are_kept_are_measured_all_the_same() {
    let capture = Capture::start();
    let mut router = Router::new();
    for n in 0..1030 {
        router = router.route(&format!("/{n}"), get(async || ()));
    }
    let router = router.layer(capture.layer());
    for n in 0..1030 {
        router
            .clone()
            .oneshot(request("GET", &format!("/{n}")))
            .await
            .unwrap();
    }
    assert_eq!(capture.spans().len(), 1030);
    capture.span("GET /1029").has("http.route", "/1029");
    assert_eq!(active(&capture), 0.0);
}

#[tokio::test]
async fn an_error_of_the_service_itself_is_named_by_its_type() {
    let capture = Capture::start();
    let service = tower::service_fn(async |_: Request<Body>| Err::<Response, _>(std::fmt::Error));
    let service = tower_layer::Layer::layer(&capture.layer(), service);
    service.oneshot(request("GET", "/")).await.unwrap_err();
    only_span(&capture).has("error.type", "core::fmt::Error");
}

#[tokio::test]
async fn what_is_dropped_with_a_request_is_dropped_inside_its_span() {
    #[derive(Clone)]
    struct Seen(Arc<Mutex<String>>);
    impl Drop for Seen {
        fn drop(&mut self) {
            let context = opentelemetry::Context::current();
            *self.0.lock().unwrap() = context.span().span_context().span_id().to_string();
        }
    }
    async fn waits(_seen: Seen) {
        std::future::pending::<()>().await;
    }
    let dropped = Arc::new(Mutex::new(String::new()));
    for in_body in [false, true] {
        let capture = Capture::start();
        let seen = Arc::clone(&dropped);
        let router = Router::new().route(
            "/",
            get(async move || {
                let work = waits(Seen(seen));
                if in_body {
                    return Body::from_stream(stream::once(async move {
                        work.await;
                        Ok::<_, Infallible>("")
                    }))
                    .into_response();
                }
                work.await;
                ().into_response()
            }),
        );
        let sent = send(capture.layer(), router, request("GET", "/"));
        let late = tokio::time::timeout(Duration::from_millis(30), sent).await;
        assert!(late.is_err());
        let span = only_span(&capture).0;
        assert_eq!(
            *dropped.lock().unwrap(),
            span.span_context.span_id().to_string(),
            "{in_body}"
        );
        let lasted = span.end_time.duration_since(span.start_time).unwrap();
        assert!(
            lasted >= Duration::from_millis(30),
            "it ends with the drop: {lasted:?}"
        );
    }
}

#[tokio::test]
async fn a_request_that_nobody_watches_ends_with_its_head_if_its_body_is_in_memory() {
    let capture = Capture::sampled_by(Sampler::AlwaysOff);
    let router = hello().layer(capture.layer());
    let answer = router.oneshot(request("GET", "/")).await.unwrap();
    assert_eq!(active(&capture), 0.0);
    assert_eq!(capture.point(RESPONSE_SIZE).sum, 5.0);
    drop(answer);
    assert_eq!(duration(&capture).count, 1, "and is measured once");
}

#[tokio::test]
async fn a_stream_that_nobody_watches_ends_with_its_body() {
    let capture = Capture::sampled_by(Sampler::AlwaysOff);
    let chunks = || stream::iter(["he", "llo"]).map(|it| Ok::<_, Infallible>(Bytes::from(it)));
    let router = Router::new().route("/", get(async move || Body::from_stream(chunks())));
    let router = router.layer(capture.layer());
    let answer = router.oneshot(request("GET", "/")).await.unwrap();
    assert_eq!(active(&capture), 1.0);
    answer.into_body().collect().await.unwrap();
    assert_eq!(active(&capture), 0.0);
    assert_eq!(capture.point(RESPONSE_SIZE).sum, 5.0);
}
