use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, TracerProvider};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData};
use tower::ServiceExt;
use tracing_subscriber::layer::SubscriberExt;

use super::HttpLayer;

/// The layer with exporters in memory, for this thread.
struct Observed {
    layer: HttpLayer,
    spans: InMemorySpanExporter,
    metrics: InMemoryMetricExporter,
    meter: SdkMeterProvider,
    _scope: tracing::subscriber::DefaultGuard,
}

impl Observed {
    fn new() -> Self {
        Self::sampled_by(Sampler::AlwaysOn)
    }

    fn sampled_by(sampler: Sampler) -> Self {
        let spans = InMemorySpanExporter::default();
        let tracer = SdkTracerProvider::builder()
            .with_simple_exporter(spans.clone())
            .with_sampler(sampler)
            .build();
        let metrics = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(metrics.clone()).build();
        let meter = SdkMeterProvider::builder().with_reader(reader).build();
        let subscriber = tracing_subscriber::registry()
            .with(tracing_opentelemetry::layer().with_tracer(tracer.tracer("test")));
        let propagator: Vec<Box<dyn TextMapPropagator + Send + Sync>> =
            vec![Box::new(TraceContextPropagator::new())];
        let layer = HttpLayer::new(
            &meter.meter("test"),
            TextMapCompositePropagator::new(propagator),
            false,
        );
        let _scope = tracing::subscriber::set_default(subscriber);
        Self {
            layer,
            spans,
            metrics,
            meter,
            _scope,
        }
    }

    async fn send(&self, router: Router, request: Request<Body>) -> axum::response::Response {
        router
            .layer(self.layer.clone())
            .oneshot(request)
            .await
            .unwrap()
    }

    fn only_span(&self) -> SpanData {
        let spans = self.spans.get_finished_spans().unwrap();
        assert_eq!(spans.len(), 1, "{spans:#?}");
        spans.into_iter().next().unwrap()
    }

    /// The attributes of the one recorded duration.
    fn only_duration(&self) -> Vec<KeyValue> {
        self.meter.force_flush().unwrap();
        let exported = self.metrics.get_finished_metrics().unwrap();
        let metric = exported
            .iter()
            .flat_map(opentelemetry_sdk::metrics::data::ResourceMetrics::scope_metrics)
            .flat_map(opentelemetry_sdk::metrics::data::ScopeMetrics::metrics)
            .find(|metric| metric.name() == "http.server.request.duration")
            .expect("a duration");
        assert_eq!(metric.unit(), "s");
        let AggregatedMetrics::F64(MetricData::Histogram(histogram)) = metric.data() else {
            panic!("not a histogram of seconds")
        };
        let points: Vec<_> = histogram.data_points().collect();
        assert_eq!(points.len(), 1);
        assert_eq!(points[0].count(), 1);
        assert_eq!(points[0].bounds().count(), 14, "the advised boundaries");
        points[0].attributes().cloned().collect()
    }
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

fn request(method: &str, uri: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "ledger.example:8443")
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn a_request_is_a_server_span_by_the_conventions() {
    let observed = Observed::new();
    let router = Router::new().nest(
        "/v1",
        Router::new().route("/entries/{id}", post(async || StatusCode::CREATED)),
    );
    let mut sent = request("POST", "/v1/entries/7?token=secret");
    sent.headers_mut()
        .insert("user-agent", "tests/1".parse().unwrap());
    let answer = observed.send(router, sent).await;
    assert_eq!(answer.status(), 201);
    let span = observed.only_span();
    assert_eq!(span.name, "POST /v1/entries/{id}");
    assert_eq!(span.span_kind, SpanKind::Server);
    assert_eq!(span.status, Status::Unset);
    let attributes = &span.attributes;
    holds(attributes, "http.request.method", "POST");
    holds(attributes, "http.route", "/v1/entries/{id}");
    holds(attributes, "http.response.status_code", 201);
    holds(attributes, "url.path", "/v1/entries/7");
    holds(attributes, "url.scheme", "http");
    holds(attributes, "server.address", "ledger.example");
    holds(attributes, "server.port", 8443);
    holds(attributes, "network.protocol.version", "1.1");
    holds(attributes, "user_agent.original", "tests/1");
    assert_eq!(value(attributes, "error.type"), None);
    assert!(
        !format!("{span:?}").contains("secret"),
        "the query is nowhere"
    );

    let duration = observed.only_duration();
    holds(&duration, "http.request.method", "POST");
    holds(&duration, "http.route", "/v1/entries/{id}");
    holds(&duration, "http.response.status_code", 201);
    holds(&duration, "url.scheme", "http");
    assert_eq!(value(&duration, "error.type"), None);
}

#[tokio::test]
async fn an_unrouted_request_has_no_route_and_an_unknown_method_is_other() {
    let observed = Observed::new();
    observed.send(Router::new(), request("BREW", "/pot")).await;
    let span = observed.only_span();
    assert_eq!(span.name, "HTTP");
    holds(&span.attributes, "http.request.method", "_OTHER");
    holds(&span.attributes, "http.request.method_original", "BREW");
    assert_eq!(value(&span.attributes, "http.route"), None);
    let duration = observed.only_duration();
    holds(&duration, "http.request.method", "_OTHER");
    assert_eq!(value(&duration, "http.route"), None);
}

#[tokio::test]
async fn only_a_5xx_is_an_error_of_the_server() {
    for (status, error) in [(404_u16, false), (503, true)] {
        let observed = Observed::new();
        let answer = async move || StatusCode::from_u16(status).unwrap();
        observed
            .send(Router::new().route("/", get(answer)), request("GET", "/"))
            .await;
        let span = observed.only_span();
        assert_eq!(span.status != Status::Unset, error);
        let expected = error.then(|| Value::from(status.to_string()));
        assert_eq!(value(&span.attributes, "error.type"), expected.as_ref());
        assert_eq!(
            value(&observed.only_duration(), "error.type"),
            expected.as_ref()
        );
    }
}

#[tokio::test]
async fn a_cancelled_request_is_marked_and_still_measured() {
    let observed = Observed::new();
    let router = Router::new()
        .route("/", get(std::future::pending::<()>))
        .layer(observed.layer.clone());
    let pending = router.oneshot(request("GET", "/"));
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(20), pending)
            .await
            .is_err()
    );
    let span = observed.only_span();
    holds(&span.attributes, "error.type", "cancelled");
    assert_eq!(span.status, Status::error(""));
    holds(&observed.only_duration(), "error.type", "cancelled");
}

#[tokio::test]
async fn a_panic_passes_through_and_is_marked() {
    async fn panics() {
        panic!("as the test wants");
    }
    let observed = Observed::new();
    let router = Router::new()
        .route("/", get(panics))
        .layer(observed.layer.clone());
    let ended = tokio::spawn(router.oneshot(request("GET", "/"))).await;
    assert!(ended.unwrap_err().is_panic());
    let span = observed.only_span();
    holds(&span.attributes, "error.type", "panic");
    assert_ne!(span.status, Status::Unset);
    holds(&observed.only_duration(), "error.type", "panic");
}

#[tokio::test]
async fn the_callers_trace_is_continued_and_visible_inside() {
    let observed = Observed::new();
    let inside = get(async || {
        opentelemetry::Context::current()
            .span()
            .span_context()
            .span_id()
            .to_string()
    });
    let mut sent = request("GET", "/");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    sent.headers_mut()
        .insert("traceparent", parent.parse().unwrap());
    let answer = observed.send(Router::new().route("/", inside), sent).await;
    let seen = axum::body::to_bytes(answer.into_body(), 100).await.unwrap();
    let span = observed.only_span();
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
}

#[tokio::test]
async fn the_request_id_reaches_the_handler_and_returns() {
    let observed = Observed::new();
    let echo = get(async |headers: axum::http::HeaderMap| {
        headers["x-request-id"].to_str().unwrap().to_owned()
    });
    let router = Router::new().route("/", echo);
    let made = observed.send(router.clone(), request("GET", "/")).await;
    let id = made.headers()["x-request-id"].clone();
    assert_eq!(
        axum::body::to_bytes(made.into_body(), 100).await.unwrap(),
        id.as_bytes()
    );
    let mut sent = request("GET", "/");
    sent.headers_mut()
        .insert("x-request-id", "mine".parse().unwrap());
    let kept = observed.send(router, sent).await;
    assert_eq!(kept.headers()["x-request-id"], "mine");
}

#[tokio::test]
async fn without_a_subscriber_requests_are_served_and_measured_all_the_same() {
    let observed = Observed::new();
    let none = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
    let answer = observed
        .send(
            Router::new().route("/", get(async || "hello")),
            request("GET", "/"),
        )
        .await;
    drop(none);
    assert_eq!(answer.status(), 200);
    holds(&observed.only_duration(), "http.response.status_code", 200);
}

#[tokio::test]
async fn a_request_that_is_not_sampled_is_measured_and_still_has_a_context() {
    let observed = Observed::sampled_by(Sampler::AlwaysOff);
    let inside = get(async || {
        let context = opentelemetry::Context::current();
        let span = context.span();
        format!("{} {}", span.span_context().is_valid(), span.is_recording())
    });
    let answer = observed
        .send(Router::new().route("/", inside), request("GET", "/"))
        .await;
    let seen = axum::body::to_bytes(answer.into_body(), 100).await.unwrap();
    assert_eq!(seen, "true false");
    assert!(observed.spans.get_finished_spans().unwrap().is_empty());
    holds(&observed.only_duration(), "http.response.status_code", 200);
}

#[tokio::test]
async fn a_caller_that_was_not_sampled_is_followed() {
    let observed = Observed::sampled_by(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)));
    let mut sent = request("GET", "/");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    sent.headers_mut()
        .insert("traceparent", parent.parse().unwrap());
    observed.send(Router::new(), sent).await;
    assert!(observed.spans.get_finished_spans().unwrap().is_empty());
}

#[tokio::test]
async fn the_servers_address_is_taken_only_from_a_valid_host() {
    for (host, address, port) in [
        ("ledger.example", Some("ledger.example"), None),
        ("[::1]:80", Some("[::1]"), Some(80)),
        ("user@ledger.example", None, None),
        ("not a host", None, None),
    ] {
        let observed = Observed::new();
        let mut sent = request("GET", "/");
        sent.headers_mut().insert("host", host.parse().unwrap());
        observed.send(Router::new(), sent).await;
        let span = observed.only_span();
        let found = value(&span.attributes, "server.address");
        assert_eq!(found, address.map(Value::from).as_ref(), "{host}");
        let found = value(&span.attributes, "server.port");
        assert_eq!(found, port.map(Value::I64).as_ref(), "{host}");
    }
}

#[tokio::test]
async fn http_2_is_version_2_with_its_scheme_and_authority() {
    let observed = Observed::new();
    let mut sent = request("GET", "https://ledger.example:444/entries");
    *sent.version_mut() = axum::http::Version::HTTP_2;
    sent.headers_mut().remove("host");
    observed.send(Router::new(), sent).await;
    let attributes = observed.only_span().attributes;
    holds(&attributes, "network.protocol.version", "2");
    holds(&attributes, "url.scheme", "https");
    holds(&attributes, "server.address", "ledger.example");
    holds(&attributes, "server.port", 444);
    holds(&observed.only_duration(), "url.scheme", "https");
}

#[tokio::test]
async fn the_clients_address_is_that_of_the_connection() {
    for connected in [true, false] {
        let observed = Observed::new();
        let mut sent = request("GET", "/");
        sent.headers_mut()
            .insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
        if connected {
            let peer: std::net::SocketAddr = "192.0.2.7:5123".parse().unwrap();
            sent.extensions_mut()
                .insert(axum::extract::ConnectInfo(peer));
        }
        observed.send(Router::new(), sent).await;
        let expected = connected.then(|| Value::from("192.0.2.7"));
        let attributes = observed.only_span().attributes;
        assert_eq!(value(&attributes, "client.address"), expected.as_ref());
    }
}

#[tokio::test]
async fn inside_a_nested_router_the_path_and_the_route_are_whole() {
    let observed = Observed::new();
    let inner = Router::new()
        .route("/entries/{id}", get(async || ()))
        .layer(observed.layer.clone());
    let router = Router::new().nest("/v1", inner);
    router
        .oneshot(request("GET", "/v1/entries/7"))
        .await
        .unwrap();
    let attributes = observed.only_span().attributes;
    holds(&attributes, "http.route", "/v1/entries/{id}");
    holds(&attributes, "url.path", "/v1/entries/7");
}

#[tokio::test]
async fn an_error_of_the_service_itself_is_named_by_its_type() {
    let observed = Observed::new();
    let service = tower::service_fn(async |_: Request<Body>| {
        Err::<axum::response::Response, _>(std::fmt::Error)
    });
    let service = tower_layer::Layer::layer(&observed.layer, service);
    service.oneshot(request("GET", "/")).await.unwrap_err();
    holds(
        &observed.only_span().attributes,
        "error.type",
        "core::fmt::Error",
    );
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
    let observed = Observed::new();
    let dropped = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&dropped);
    let router = Router::new().route(
        "/",
        get(async move || {
            let _seen = Seen(seen);
            std::future::pending::<()>().await;
        }),
    );
    let sent = observed.send(router, request("GET", "/"));
    let late = tokio::time::timeout(Duration::from_millis(30), sent).await;
    assert!(late.is_err());
    let span = observed.only_span();
    assert_eq!(
        *dropped.lock().unwrap(),
        span.span_context.span_id().to_string()
    );
    let lasted = span.end_time.duration_since(span.start_time).unwrap();
    assert!(
        lasted >= Duration::from_millis(30),
        "it ends with the drop: {lasted:?}"
    );
}
