//! Tests that all emitted names are in OpenTelemetry's registry, or begin with `platform.`.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderName, Request, StatusCode};
use axum::routing::{any, get};
use opentelemetry::Context;
use tower::ServiceExt;
use tower_layer::Layer as _;

use crate::config::{Env, resource};
use crate::database::Database;
use crate::export::observe_every_outcome;
use crate::http::{ForwardedBy, HttpClientLayer, ResendCount, UrlTemplate};
use crate::messaging::{self, Destination};
use crate::pool::PoolState;
use crate::propagation::Propagator;
use crate::testing::Capture;

const REGISTRY: &str = include_str!("registry.txt");

/// The prefixes of names that end with a key, such as a header's name.
const TEMPLATES: [&str; 2] = ["http.request.header.", "http.response.header."];

fn section(name: &str) -> BTreeSet<&'static str> {
    let (_, section) = REGISTRY.split_once(&format!("[{name}]\n")).unwrap();
    section
        .lines()
        .take_while(|line| !line.is_empty())
        .collect()
}

/// The names that are not in the section.
fn unknown(names: impl IntoIterator<Item = String>, of: &str) -> Vec<String> {
    let known = section(of);
    let is_known = |name: &str| {
        known.contains(name)
            || name.starts_with("platform.")
            || TEMPLATES.iter().any(|template| name.starts_with(template))
    };
    names.into_iter().filter(|name| !is_known(name)).collect()
}

/// Emits everything that the server layer can emit.
async fn serve(capture: &Capture) {
    let layer = capture
        .layer()
        .trusted_proxies(["192.0.2.0/24".parse().unwrap()], ForwardedBy::XForwarded)
        .record_query_parameters(["page"])
        .record_request_headers([HeaderName::from_static("accept")])
        .record_response_headers([HeaderName::from_static("content-type")]);
    let router = Router::new()
        .route("/entries/{id}", any(async |body: String| body))
        .route("/fails", get(async || StatusCode::BAD_GATEWAY))
        .route(
            "/panics",
            get(async || -> StatusCode { panic!("expected by the test") }),
        )
        .layer(layer);
    for (method, path) in [
        ("BREW", "/entries/7?page=1"),
        ("GET", "/fails"),
        ("GET", "/panics"),
        ("GET", "/none"),
    ] {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "example.org:8080")
            .header("user-agent", "test")
            .header("accept", "text/plain")
            .header("x-forwarded-for", "203.0.113.9")
            .body(Body::from("hello"))
            .unwrap();
        let peer: std::net::SocketAddr = "192.0.2.1:4711".parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = router.clone().oneshot(request).await.unwrap();
        axum::body::to_bytes(response.into_body(), 1000)
            .await
            .unwrap();
    }
}

async fn call(capture: &Capture) {
    let layer = HttpClientLayer::new(&capture.meter(), Propagator::new(true, true));
    for fails in [false, true] {
        let service = tower::service_fn(move |_: Request<String>| {
            std::future::ready(if fails {
                Err(std::io::Error::other("expected by the test"))
            } else {
                Ok(http::Response::new(()))
            })
        });
        let mut request = Request::new(String::new());
        *request.uri_mut() = "http://example.org:8080/entries/7?page=1".parse().unwrap();
        *request.method_mut() = "BREW".parse().unwrap();
        request
            .extensions_mut()
            .insert(UrlTemplate("/entries/{id}"));
        request.extensions_mut().insert(ResendCount(1));
        let _ = layer.layer(service).oneshot(request).await;
    }
}

async fn message(capture: &Capture) {
    let instruments = messaging::Instruments::new(&capture.meter());
    for destination in [
        Destination::new("entries.7")
            .template("entries.{id}")
            .server("nats.internal", 4222)
            .consumer_group("bookers"),
        Destination::new("_INBOX.7"),
        Destination::new("entries"),
    ] {
        let sent = messaging::send_with(
            &instruments,
            destination,
            http::HeaderMap::new(),
            async |_| Err::<(), _>(std::io::Error::other("expected by the test")),
        );
        sent.await.unwrap_err();
        let span = messaging::consumer_span(destination, &Context::new());
        let done = async { Ok::<_, std::io::Error>(()) };
        messaging::process_with(&instruments, destination, span, done)
            .await
            .unwrap();
    }
}

fn query() {
    tracing::info_span!("caller").in_scope(|| {
        tracing::debug!(target: "sqlx::query", summary = "SELECT id FROM entry", db.statement = "", elapsed_secs = 0.1);
    });
}

#[tokio::test]
async fn all_emitted_names_are_in_the_registry() {
    let database = Database::postgresql()
        .server("db.internal", 5432)
        .namespace("ledger")
        .record_query_text();
    let capture = Capture::with_database(&database);
    let meter = capture.meter();
    serve(&capture).await;
    call(&capture).await;
    message(&capture).await;
    query();
    crate::process::observe(&meter);
    crate::pool::observe(&meter, "ledger", || {
        Some(PoolState {
            size: 1,
            idle: 1,
            max: 1,
        })
    });
    observe_every_outcome(&meter);

    let instruments = capture.instruments();
    for expected in [
        "http.server.request.duration",
        "http.server.active_requests",
        "http.server.request.body.size",
        "http.server.response.body.size",
        "http.client.request.duration",
        "messaging.client.sent.messages",
        "messaging.client.operation.duration",
        "messaging.process.duration",
        "db.client.operation.duration",
        "db.client.connection.count",
        "process.uptime",
        "platform.tokio.workers",
        "otel.sdk.exporter.span.exported",
    ] {
        assert!(
            instruments.iter().any(|name| name == expected),
            "{expected}: {instruments:#?}"
        );
    }
    let nothing: [&str; 0] = [];
    assert_eq!(unknown(instruments.iter().cloned(), "metrics"), nothing);
    let points = instruments.iter().flat_map(|name| capture.points(name));
    let of_points = points
        .flat_map(|point| point.attributes)
        .map(|attribute| attribute.key.to_string());
    assert_eq!(unknown(of_points, "attributes"), nothing);

    let spans = capture.spans();
    let names: Vec<_> = spans.iter().map(|span| span.0.name.as_ref()).collect();
    for expected in [
        "HTTP /entries/{id}",
        "send entries.{id}",
        "process entries",
        "SELECT entry",
    ] {
        assert!(names.contains(&expected), "{expected}: {names:?}");
    }
    let of_spans = spans.iter().flat_map(|span| &span.0.attributes);
    let of_spans: Vec<_> = of_spans
        .map(|attribute| attribute.key.to_string())
        .collect();
    for expected in [
        "client.address",
        "db.query.text",
        "url.template",
        "http.request.header.accept",
        "http.request.resend_count",
    ] {
        assert!(
            of_spans.iter().any(|name| name == expected),
            "{expected}: {of_spans:#?}"
        );
    }
    assert_eq!(unknown(of_spans, "attributes"), nothing);

    let logs = capture.logs();
    assert!(!logs.is_empty(), "the handler's panic is logged");
    let of_logs = logs
        .into_iter()
        .flat_map(|log| log.attributes)
        .map(|(key, _)| key);
    assert_eq!(unknown(of_logs, "attributes"), nothing);
}

#[test]
fn all_resource_attributes_are_in_the_registry() {
    let attributes = crate::telemetry::resource_attributes(
        Some("1.0.0".to_owned()),
        Some("staging".to_owned()),
        crate::BuildInfo::new("1.0.0")
            .first_revision([Some("abc")])
            .first_ref_name([Some("main")])
            .first_repository([Some("https://example.org/it")]),
    );
    let (_, resource) = resource("accounting", attributes, Env(&|_| None)).unwrap();
    assert!(resource.iter().count() >= 9, "{resource:?}");
    let names = resource.iter().map(|(key, _)| key.to_string());
    let nothing: [&str; 0] = [];
    assert_eq!(unknown(names, "attributes"), nothing);
}

#[test]
fn a_name_outside_the_registry_is_detected() {
    let names = [
        "busy_ns",
        "http.route",
        "platform.any",
        "http.request.header.accept",
    ];
    assert_eq!(unknown(names.map(str::to_owned), "attributes"), ["busy_ns"]);
}
