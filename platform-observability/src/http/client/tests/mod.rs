mod attributes;
mod context;
mod ending;
#[cfg(feature = "reqwest-middleware")]
mod reqwest;

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
use crate::propagation::Propagator;
use crate::testing::Capture;

type Hyper = Client<HttpConnector, String>;

/// A layer whose telemetry is captured.
fn layer(capture: &Capture) -> HttpClientLayer {
    HttpClientLayer::new(&capture.meter(), Propagator::new(true, true))
}

/// The only span of the client's kind; hyper and h2 also create spans.
#[track_caller]
fn only_span(capture: &Capture) -> SpanData {
    let spans = capture.spans().into_iter().map(|span| span.0);
    let mut spans: Vec<_> = spans
        .filter(|span| span.span_kind == SpanKind::Client)
        .collect();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    spans.remove(0)
}

/// The attributes of the only recorded duration.
#[track_caller]
fn only_duration(capture: &Capture) -> Vec<KeyValue> {
    let point = capture.point("http.client.request.duration");
    assert_eq!(point.unit, "s");
    assert_eq!(point.count, 1);
    assert_eq!(
        point.bounds.len(),
        14,
        "the boundaries that the conventions advise"
    );
    point.attributes
}

fn client(layer: &HttpClientLayer) -> HttpClientService<Hyper> {
    layer.layer(Client::builder(TokioExecutor::new()).build_http())
}

/// A server that never responds: its port, and when its request has arrived.
async fn unresponsive_server() -> (u16, tokio::sync::oneshot::Receiver<()>) {
    let (arrived, arrives) = tokio::sync::oneshot::channel();
    let arrived = Arc::new(Mutex::new(Some(arrived)));
    let pending = get(async move || {
        arrived.lock().unwrap().take().unwrap().send(()).unwrap();
        std::future::pending::<()>().await;
    });
    (serve(Router::new().route("/", pending)).await, arrives)
}

/// Starts a server for the lifetime of the test's runtime, and returns its port.
async fn serve(router: Router) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

/// A server that stores the headers of each request.
async fn recording_server() -> (u16, Arc<Mutex<Vec<HeaderMap>>>) {
    let received = Arc::new(Mutex::new(Vec::new()));
    let headers_of_requests = Arc::clone(&received);
    let router = Router::new().fallback(async move |headers: HeaderMap| {
        headers_of_requests.lock().unwrap().push(headers);
    });
    (serve(router).await, received)
}

/// A port that refuses connections while the socket exists.
pub(crate) fn closed_port() -> (tokio::net::TcpSocket, u16) {
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
fn assert_has(attributes: &[KeyValue], key: &str, expected: impl Into<Value>) {
    assert_eq!(
        value(attributes, key),
        Some(&expected.into()),
        "{key} in {attributes:#?}"
    );
}

#[track_caller]
fn assert_names(attributes: &[KeyValue], expected: &[&str]) {
    let mut names: Vec<_> = attributes.iter().map(|each| each.key.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, expected);
}
