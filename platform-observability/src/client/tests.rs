use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::{any, get};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::{Sampler, SpanData};
use tower::{Service, ServiceExt};
use tower_layer::Layer as _;

use super::{HttpClientLayer, HttpClientService, ResendCount, UrlTemplate};
use crate::propagation::Propagation;
use crate::testing::Capture;

type Hyper = Client<HttpConnector, String>;

/// The layer, measured and traced on this thread.
fn layer(capture: &Capture) -> HttpClientLayer {
    HttpClientLayer::new(&capture.meter(), Propagation::new(true, true))
}

/// The one span of the client's; hyper and h2 have some, too.
#[track_caller]
fn only_span(capture: &Capture) -> SpanData {
    let spans = capture.spans().into_iter().map(|span| span.0);
    let mut spans: Vec<_> = spans
        .filter(|span| span.span_kind == SpanKind::Client)
        .collect();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    spans.remove(0)
}

/// The attributes of the one recorded duration.
#[track_caller]
fn only_duration(capture: &Capture) -> Vec<KeyValue> {
    let point = capture.point("http.client.request.duration");
    assert_eq!(point.unit, "s");
    assert_eq!(point.count, 1);
    assert_eq!(point.bounds.len(), 14, "the advised boundaries");
    point.attributes
}

fn client(layer: &HttpClientLayer) -> HttpClientService<Hyper> {
    layer.layer(Client::builder(TokioExecutor::new()).build_http())
}

/// A server on a port of its own, for as long as the test's runtime lives.
async fn serve(router: Router) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

/// A server that keeps the headers of each request.
async fn listen() -> (u16, Arc<Mutex<Vec<HeaderMap>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let router = Router::new().fallback(async move |headers: HeaderMap| {
        hears.lock().unwrap().push(headers);
    });
    (serve(router).await, heard)
}

/// A port on which nobody listens, as long as the socket is kept.
fn closed_port() -> (tokio::net::TcpSocket, u16) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

fn request(uri: impl AsRef<str>) -> Request<String> {
    Request::get(uri.as_ref()).body(String::new()).unwrap()
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes
        .iter()
        .find(|attribute| attribute.key.as_str() == key)
        .map(|attribute| &attribute.value)
}

#[track_caller]
fn holds(attributes: &[KeyValue], key: &str, expected: impl Into<Value>) {
    assert_eq!(
        value(attributes, key),
        Some(&expected.into()),
        "{key} in {attributes:#?}"
    );
}

#[track_caller]
fn names(attributes: &[KeyValue], expected: &[&str]) {
    let mut names: Vec<_> = attributes.iter().map(|each| each.key.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_request_is_a_client_span_by_the_conventions() {
    let capture = Capture::start();
    let port = serve(Router::new().route("/entries/{id}", get(async || "hello"))).await;
    let uri = format!("http://127.0.0.1:{port}/entries/7?patient=jane&page=2");
    let mut sent = request(uri);
    sent.headers_mut()
        .insert("authorization", "Bearer hidden".parse().unwrap());
    let answer = client(&layer(&capture)).oneshot(sent).await.unwrap();
    assert_eq!(answer.status(), 200);
    let span = only_span(&capture);
    assert_eq!(span.name, "GET");
    assert_eq!(span.span_kind, SpanKind::Client);
    assert_eq!(span.status, Status::Unset);
    let attributes = &span.attributes;
    holds(attributes, "http.request.method", "GET");
    holds(attributes, "server.address", "127.0.0.1");
    holds(attributes, "server.port", i64::from(port));
    let url = format!("http://127.0.0.1:{port}/entries/7?patient=REDACTED&page=REDACTED");
    holds(attributes, "url.full", url);
    holds(attributes, "http.response.status_code", 200);
    holds(attributes, "network.protocol.version", "1.1");
    let own = [
        "http.request.method",
        "http.response.status_code",
        "network.protocol.version",
        "server.address",
        "server.port",
        "url.full",
    ];
    names(attributes, &own);
    let all = format!("{span:?}");
    assert!(!all.contains("jane") && !all.contains("hidden"), "{all}");

    let duration = only_duration(&capture);
    holds(&duration, "http.request.method", "GET");
    holds(&duration, "server.address", "127.0.0.1");
    holds(&duration, "server.port", i64::from(port));
    holds(&duration, "http.response.status_code", 200);
    holds(&duration, "network.protocol.version", "1.1");
    names(&duration, &own[..5]);
}

#[tokio::test]
async fn a_template_names_the_span_and_the_duration() {
    let capture = Capture::start();
    let port = serve(Router::new()).await;
    let mut sent = request(format!("http://127.0.0.1:{port}/entries/7"));
    sent.extensions_mut().insert(UrlTemplate("/entries/{id}"));
    sent.extensions_mut().insert(ResendCount(2));
    client(&layer(&capture)).oneshot(sent).await.unwrap();
    let span = only_span(&capture);
    assert_eq!(span.name, "GET /entries/{id}");
    holds(&span.attributes, "url.template", "/entries/{id}");
    holds(&span.attributes, "http.request.resend_count", 2);
    let duration = only_duration(&capture);
    holds(&duration, "url.template", "/entries/{id}");
    assert_eq!(value(&duration, "http.request.resend_count"), None);
}

#[tokio::test]
async fn an_unknown_method_is_other_and_a_first_attempt_is_not_counted() {
    let capture = Capture::start();
    let port = serve(Router::new().fallback(any(async || ()))).await;
    let mut sent = request(format!("http://127.0.0.1:{port}/pot"));
    *sent.method_mut() = "BREW".parse().unwrap();
    sent.extensions_mut().insert(ResendCount(0));
    client(&layer(&capture)).oneshot(sent).await.unwrap();
    let span = only_span(&capture);
    assert_eq!(span.name, "HTTP");
    holds(&span.attributes, "http.request.method", "_OTHER");
    holds(&span.attributes, "http.request.method_original", "BREW");
    assert_eq!(value(&span.attributes, "http.request.resend_count"), None);
    holds(&only_duration(&capture), "http.request.method", "_OTHER");
}

#[tokio::test]
async fn a_4xx_and_a_5xx_are_errors_of_the_client() {
    for (status, error) in [(302_u16, false), (404, true), (503, true)] {
        let capture = Capture::start();
        let answer = async move || StatusCode::from_u16(status).unwrap();
        let port = serve(Router::new().route("/", get(answer))).await;
        let sent = request(format!("http://127.0.0.1:{port}/"));
        client(&layer(&capture)).oneshot(sent).await.unwrap();
        let span = only_span(&capture);
        let expected = if error {
            Status::error("")
        } else {
            Status::Unset
        };
        assert_eq!(span.status, expected);
        let expected = error.then(|| Value::from(status.to_string()));
        let duration = only_duration(&capture);
        assert_eq!(value(&span.attributes, "error.type"), expected.as_ref());
        assert_eq!(value(&duration, "error.type"), expected.as_ref());
        holds(&duration, "http.response.status_code", i64::from(status));
    }
}

#[tokio::test]
async fn a_refused_connection_is_an_error_without_its_message() {
    let capture = Capture::start();
    let (_kept, port) = closed_port();
    let sent = request(format!("http://127.0.0.1:{port}/?a=jane"));
    client(&layer(&capture)).oneshot(sent).await.unwrap_err();
    let span = only_span(&capture);
    let name = "hyper_util::client::legacy::client::Error";
    holds(&span.attributes, "error.type", name);
    assert_eq!(span.status, Status::error(""));
    assert_eq!(value(&span.attributes, "http.response.status_code"), None);
    // None was spoken.
    assert_eq!(value(&span.attributes, "network.protocol.version"), None);
    holds(&only_duration(&capture), "error.type", name);
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_is_cancelled() {
    let capture = Capture::start();
    let (arrived, arrives) = tokio::sync::oneshot::channel();
    let arrived = Arc::new(Mutex::new(Some(arrived)));
    let silent = get(async move || {
        arrived.lock().unwrap().take().unwrap().send(()).unwrap();
        std::future::pending::<()>().await;
    });
    let port = serve(Router::new().route("/", silent)).await;
    let sent = client(&layer(&capture)).oneshot(request(format!("http://127.0.0.1:{port}/")));
    tokio::select! {
        answer = sent => panic!("{answer:?}"),
        told = arrives => told.unwrap(),
    }
    let span = only_span(&capture);
    holds(&span.attributes, "error.type", "cancelled");
    assert_eq!(span.status, Status::error(""));
    holds(&only_duration(&capture), "error.type", "cancelled");
}

#[tokio::test]
async fn a_panic_of_the_client_passes_through_and_is_marked() {
    let capture = Capture::start();
    let panics = tower::service_fn(
        async |_: Request<String>| -> Result<http::Response<()>, ()> {
            panic!("as the test wants")
        },
    );
    let sent = layer(&capture)
        .layer(panics)
        .oneshot(request("http://a.example/"));
    assert!(tokio::spawn(sent).await.unwrap_err().is_panic());
    holds(&only_span(&capture).attributes, "error.type", "panic");
    holds(&only_duration(&capture), "error.type", "panic");
}

#[tokio::test]
async fn the_span_ends_with_the_head_of_the_response() {
    let capture = Capture::start();
    let port = serve(Router::new().route("/", get(async || "hello"))).await;
    let sent = request(format!("http://127.0.0.1:{port}/"));
    let mut sent = std::pin::pin!(client(&layer(&capture)).call(sent));
    let answer = sent.as_mut().await.unwrap();
    // With the body unread and the future kept.
    only_span(&capture);
    only_duration(&capture);
    drop(answer);
}

#[tokio::test]
async fn what_is_dropped_with_a_request_is_dropped_inside_its_span() {
    struct Seen(Arc<Mutex<String>>);
    impl Drop for Seen {
        fn drop(&mut self) {
            let context = opentelemetry::Context::current();
            *self.0.lock().unwrap() = context.span().span_context().span_id().to_string();
        }
    }
    let capture = Capture::start();
    let dropped = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&dropped);
    let silent = tower::service_fn(move |_: Request<String>| {
        let seen = Seen(Arc::clone(&seen));
        async move {
            let _seen = seen;
            std::future::pending::<Result<http::Response<()>, ()>>().await
        }
    });
    drop(
        layer(&capture)
            .layer(silent)
            .call(request("http://a.example/")),
    );
    let span = only_span(&capture);
    holds(&span.attributes, "error.type", "cancelled");
    let id = span.span_context.span_id().to_string();
    assert_eq!(*dropped.lock().unwrap(), id);
}

#[tokio::test]
async fn it_is_below_the_current_span() {
    let capture = Capture::start();
    let port = serve(Router::new()).await;
    let outer = tracing::info_span!("outer");
    let sent = client(&layer(&capture)).oneshot(request(format!("http://127.0.0.1:{port}/")));
    tracing::Instrument::instrument(sent, outer).await.unwrap();
    let (outer, sent) = (capture.span("outer").0, only_span(&capture));
    assert_eq!(sent.parent_span_id, outer.span_context.span_id());
    assert_eq!(sent.span_context.trace_id(), outer.span_context.trace_id());
}

#[tokio::test]
async fn only_known_hosts_are_told_the_trace() {
    let capture = Capture::start();
    let (port, heard) = listen().await;
    let known = layer(&capture).propagate_to(["127.0.0.1"]);
    for (layer, host, told) in [
        (&layer(&capture), "127.0.0.1", false),
        (&known, "127.0.0.1", true),
        (&known, "localhost", false),
    ] {
        let sent = request(format!("http://{host}:{port}/"));
        client(layer).oneshot(sent).await.unwrap();
        let headers = heard.lock().unwrap().pop().unwrap();
        let spans = capture.spans();
        let sent = spans.iter().rfind(|span| span.0.name == "GET").unwrap();
        let context = &sent.0.span_context;
        let expected = format!("00-{}-{}-01", context.trace_id(), context.span_id());
        let expected = told.then_some(expected);
        let found = headers.get("traceparent").map(|id| id.to_str().unwrap());
        assert_eq!(found, expected.as_deref(), "{host}");
        assert!(!headers.contains_key("tracestate"), "it is empty");
    }
}

#[tokio::test]
async fn a_host_header_does_not_change_who_is_told() {
    let capture = Capture::start();
    let (port, heard) = listen().await;
    let layer = layer(&capture).propagate_to(["api.example.org"]);
    let mut sent = request(format!("http://127.0.0.1:{port}/"));
    sent.headers_mut()
        .insert("host", "api.example.org".parse().unwrap());
    client(&layer).oneshot(sent).await.unwrap();
    let headers = heard.lock().unwrap().pop().unwrap();
    assert_eq!(headers["host"], "api.example.org");
    assert!(!headers.contains_key("traceparent"));
    holds(
        &only_span(&capture).attributes,
        "server.address",
        "127.0.0.1",
    );
}

#[tokio::test]
async fn a_trace_that_the_request_has_is_left_to_unknown_hosts_and_replaced_for_known_ones() {
    let capture = Capture::start();
    let (port, heard) = listen().await;
    let own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let known = layer(&capture).propagate_to(["127.0.0.1"]);
    for (layer, kept) in [(&layer(&capture), true), (&known, false)] {
        let mut sent = request(format!("http://127.0.0.1:{port}/"));
        sent.headers_mut()
            .insert("traceparent", own.parse().unwrap());
        client(layer).oneshot(sent).await.unwrap();
        let headers = heard.lock().unwrap().pop().unwrap();
        let found: Vec<_> = headers.get_all("traceparent").iter().collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0] == own, kept);
    }
}

#[tokio::test]
async fn the_state_of_another_trace_does_not_go_with_this_one() {
    let capture = Capture::start();
    let (port, heard) = listen().await;
    let known = layer(&capture).propagate_to(["127.0.0.1"]);
    for (layer, kept) in [(&layer(&capture), true), (&known, false)] {
        let mut sent = request(format!("http://127.0.0.1:{port}/"));
        let state = "vendor=1".parse().unwrap();
        sent.headers_mut().insert("tracestate", state);
        client(layer).oneshot(sent).await.unwrap();
        let headers = heard.lock().unwrap().pop().unwrap();
        assert_eq!(headers.contains_key("tracestate"), kept);
    }
}

#[tokio::test]
async fn the_methods_that_are_told_apart_may_be_chosen() {
    let capture = Capture::start();
    let (port, _) = listen().await;
    let layer = layer(&capture).methods(crate::http::Methods::only(vec!["PURGE".parse().unwrap()]));
    client(&layer)
        .oneshot(request(format!("http://127.0.0.1:{port}/")))
        .await
        .unwrap();
    holds(
        &only_span(&capture).attributes,
        "http.request.method",
        "_OTHER",
    );
    holds(&only_duration(&capture), "http.request.method", "_OTHER");
}

#[tokio::test]
async fn baggage_goes_with_the_trace() {
    let capture = Capture::start();
    let (port, heard) = listen().await;
    let layer = layer(&capture).propagate_to(["127.0.0.1"]);
    let context = opentelemetry::Context::new();
    let context = context.with_baggage([KeyValue::new("tenant", "t1")]);
    // Polled on this thread only.
    let _attached = context.attach();
    let sent = request(format!("http://127.0.0.1:{port}/"));
    client(&layer).oneshot(sent).await.unwrap();
    let headers = heard.lock().unwrap().pop().unwrap();
    assert_eq!(headers["baggage"], "tenant=t1");
    assert!(headers.contains_key("traceparent"));
}

#[tokio::test]
async fn a_request_that_is_not_sampled_says_so_to_known_hosts_and_is_measured() {
    let capture = Capture::sampled_by(Sampler::AlwaysOff);
    let (port, heard) = listen().await;
    let layer = layer(&capture).propagate_to(["127.0.0.1"]);
    let sent = request(format!("http://127.0.0.1:{port}/"));
    client(&layer).oneshot(sent).await.unwrap();
    let headers = heard.lock().unwrap().pop().unwrap();
    assert!(headers["traceparent"].to_str().unwrap().ends_with("-00"));
    assert!(capture.spans().is_empty());
    holds(&only_duration(&capture), "http.response.status_code", 200);
}

#[tokio::test]
async fn without_a_subscriber_requests_are_sent_measured_and_in_the_ambient_trace() {
    let capture = Capture::start();
    let (port, heard) = listen().await;
    let layer = layer(&capture).propagate_to(["127.0.0.1"]);
    let none = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
    let own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let ambient = Propagation::new(true, false).extract(&std::collections::HashMap::from([(
        "traceparent".to_owned(),
        own.to_owned(),
    )]));
    let sent = request(format!("http://127.0.0.1:{port}/"));
    let attached = ambient.attach();
    client(&layer).oneshot(sent).await.unwrap();
    drop(attached);
    drop(none);
    assert_eq!(heard.lock().unwrap()[0]["traceparent"], own);
    holds(&only_duration(&capture), "http.response.status_code", 200);
}

#[tokio::test]
async fn what_the_client_does_is_inside_the_span() {
    let capture = Capture::start();
    let inside = tower::service_fn(async |_: Request<String>| {
        let context = opentelemetry::Context::current();
        let id = context.span().span_context().span_id().to_string();
        Ok::<_, std::convert::Infallible>(http::Response::new(id))
    });
    let sent = request("http://a.example/");
    let answer = layer(&capture).layer(inside).oneshot(sent).await.unwrap();
    let span = only_span(&capture);
    assert_eq!(*answer.body(), span.span_context.span_id().to_string());
}

/// Requests that no server on a port of the loopback can get.
async fn recorded(
    set: &dyn Fn(HttpClientLayer) -> HttpClientLayer,
    sent: Request<String>,
) -> SpanData {
    let capture = Capture::start();
    let answers = tower::service_fn(async |_: Request<String>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(()))
    });
    let layer = set(layer(&capture));
    layer.layer(answers).oneshot(sent).await.unwrap();
    only_span(&capture)
}

#[tokio::test]
async fn user_and_password_are_redacted() {
    for user in ["jane:secret@", "jane@", ":secret@"] {
        let sent = request(format!("https://{user}a.example/x"));
        let span = recorded(&|layer| layer, sent).await;
        holds(
            &span.attributes,
            "url.full",
            "https://REDACTED:REDACTED@a.example/x",
        );
        holds(&span.attributes, "server.address", "a.example");
        let all = format!("{span:?}");
        assert!(!all.contains("jane") && !all.contains("secret"), "{all}");
    }
}

#[tokio::test]
async fn query_values_are_recorded_as_the_layer_says() {
    let sent = || request("http://a.example/?page=2&name=jane&sig=3");
    let default = recorded(&|layer| layer, sent()).await;
    let some = recorded(
        &|layer| layer.record_query_values_of(["page", "sig"]),
        sent(),
    )
    .await;
    let most = recorded(&HttpClientLayer::record_query_values, sent()).await;
    let own = recorded(
        &|layer| {
            let layer = layer.record_query_values();
            layer.sensitive_query_parameters(["name"])
        },
        sent(),
    )
    .await;
    for (span, query) in [
        (default, "page=REDACTED&name=REDACTED&sig=REDACTED"),
        (some, "page=2&name=REDACTED&sig=REDACTED"),
        (most, "page=2&name=jane&sig=REDACTED"),
        (own, "page=2&name=REDACTED&sig=3"),
    ] {
        let url = format!("http://a.example/?{query}");
        holds(&span.attributes, "url.full", url);
    }
}

#[tokio::test]
async fn the_port_is_the_schemes_unless_the_url_has_one() {
    for (uri, address, port) in [
        ("http://a.example/", "a.example", 80),
        ("https://a.example/", "a.example", 443),
        ("https://[::1]/", "::1", 443),
        ("https://a.example:8443/", "a.example", 8443),
    ] {
        let span = recorded(&|layer| layer, request(uri)).await;
        holds(&span.attributes, "server.address", address);
        holds(&span.attributes, "server.port", port);
        holds(&span.attributes, "url.full", uri);
    }
}

#[tokio::test]
async fn without_a_host_in_the_url_the_header_says_it() {
    let mut sent = request("/x?a=1");
    sent.headers_mut()
        .insert("host", "a.example:8080".parse().unwrap());
    let span = recorded(&|layer| layer, sent).await;
    holds(&span.attributes, "server.address", "a.example");
    holds(&span.attributes, "server.port", 8080);
    // Of which scheme it would be, nobody says.
    assert_eq!(value(&span.attributes, "url.full"), None);
    let span = recorded(&|layer| layer, request("/x")).await;
    assert_eq!(value(&span.attributes, "server.address"), None);
}

#[tokio::test]
async fn http_2_is_version_2() {
    let capture = Capture::start();
    let port = serve(Router::new()).await;
    let hyper = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<String>();
    let sent = request(format!("http://127.0.0.1:{port}/"));
    layer(&capture).layer(hyper).oneshot(sent).await.unwrap();
    let version = "network.protocol.version";
    holds(&only_span(&capture).attributes, version, "2");
    holds(&only_duration(&capture), version, "2");
}

#[cfg(feature = "reqwest-middleware")]
mod reqwest {
    use std::time::Duration;

    use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};

    use super::*;

    fn client(layer: &HttpClientLayer) -> ClientWithMiddleware {
        ClientBuilder::new(::reqwest::Client::new())
            .with(layer.clone())
            .build()
    }

    #[tokio::test]
    async fn a_request_is_recorded_and_told() {
        let capture = Capture::start();
        let (port, heard) = listen().await;
        let layer = layer(&capture).propagate_to(["127.0.0.1"]);
        let uri = format!("http://127.0.0.1:{port}/entries/7?name=jane");
        let answer = client(&layer)
            .get(uri)
            .with_extension(UrlTemplate("/entries/{id}"))
            .with_extension(ResendCount(1))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        let span = only_span(&capture);
        assert_eq!(span.name, "GET /entries/{id}");
        assert_eq!(span.span_kind, SpanKind::Client);
        let attributes = &span.attributes;
        holds(attributes, "http.request.method", "GET");
        holds(attributes, "server.address", "127.0.0.1");
        holds(attributes, "server.port", i64::from(port));
        holds(attributes, "url.template", "/entries/{id}");
        holds(attributes, "http.request.resend_count", 1);
        holds(attributes, "http.response.status_code", 200);
        holds(attributes, "network.protocol.version", "1.1");
        let context = &span.span_context;
        let expected = format!("00-{}-{}-01", context.trace_id(), context.span_id());
        assert_eq!(heard.lock().unwrap()[0]["traceparent"], expected);
        let duration = only_duration(&capture);
        holds(&duration, "server.port", i64::from(port));
        holds(&duration, "http.response.status_code", 200);
    }

    #[tokio::test]
    async fn the_url_is_redacted_and_without_fragment() {
        let capture = Capture::start();
        let port = serve(Router::new()).await;
        let url = format!("http://jane:secret@127.0.0.1:{port}/x?name=jane#secret");
        // A `RequestBuilder` would make a header of the user and the password.
        let sent = ::reqwest::Request::new(http::Method::GET, url.parse().unwrap());
        client(&layer(&capture)).execute(sent).await.unwrap();
        let span = only_span(&capture);
        let url = format!("http://REDACTED:REDACTED@127.0.0.1:{port}/x?name=REDACTED");
        holds(&span.attributes, "url.full", url);
        let all = format!("{span:?}");
        assert!(!all.contains("jane") && !all.contains("secret"), "{all}");
    }

    #[tokio::test]
    async fn an_unknown_host_is_not_told() {
        let capture = Capture::start();
        let (port, heard) = listen().await;
        let layer = layer(&capture).propagate_to([".example.org"]);
        client(&layer)
            .get(format!("http://127.0.0.1:{port}/"))
            .send()
            .await
            .unwrap();
        assert!(!heard.lock().unwrap()[0].contains_key("traceparent"));
    }

    #[tokio::test]
    async fn a_status_from_400_on_is_an_error() {
        let capture = Capture::start();
        let port = serve(Router::new()).await;
        let uri = format!("http://127.0.0.1:{port}/");
        client(&layer(&capture)).get(uri).send().await.unwrap();
        let span = only_span(&capture);
        holds(&span.attributes, "error.type", "404");
        assert_eq!(span.status, Status::error(""));
        holds(&only_duration(&capture), "error.type", "404");
    }

    #[tokio::test]
    async fn errors_are_named_by_their_kind() {
        let capture = Capture::start();
        let (_kept, port) = closed_port();
        let uri = format!("http://127.0.0.1:{port}/");
        client(&layer(&capture)).get(uri).send().await.unwrap_err();
        holds(&only_span(&capture).attributes, "error.type", "connect");

        let capture = Capture::start();
        let silent = get(std::future::pending::<()>);
        let port = serve(Router::new().route("/", silent)).await;
        let sent = client(&layer(&capture))
            .get(format!("http://127.0.0.1:{port}/"))
            .timeout(Duration::from_millis(50))
            .send();
        sent.await.unwrap_err();
        holds(&only_span(&capture).attributes, "error.type", "timeout");
        holds(&only_duration(&capture), "error.type", "timeout");
    }

    #[tokio::test]
    async fn a_request_that_nobody_waits_for_is_cancelled() {
        let capture = Capture::start();
        let (arrived, arrives) = tokio::sync::oneshot::channel();
        let arrived = Arc::new(Mutex::new(Some(arrived)));
        let silent = get(async move || {
            arrived.lock().unwrap().take().unwrap().send(()).unwrap();
            std::future::pending::<()>().await;
        });
        let port = serve(Router::new().route("/", silent)).await;
        let sent = client(&layer(&capture))
            .get(format!("http://127.0.0.1:{port}/"))
            .send();
        tokio::select! {
            answer = sent => panic!("{answer:?}"),
            told = arrives => told.unwrap(),
        }
        holds(&only_span(&capture).attributes, "error.type", "cancelled");
        holds(&only_duration(&capture), "error.type", "cancelled");
    }
}
