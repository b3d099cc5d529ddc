//! Captures telemetry in memory, for a service's own tests (feature `testing`):
//!
//! ```
//! # use axum::{Router, body::Body, http::Request, routing::get};
//! # use tower::ServiceExt;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let telemetry = platform_observability::testing::Capture::start();
//! let app = Router::new().route("/", get(async || "hello")).layer(telemetry.layer());
//! # let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
//! # axum::body::to_bytes(response.into_body(), 100).await.unwrap();
//! // … send it a request, and then:
//! telemetry.span("GET /").has("http.response.status_code", 200);
//! # }
//! ```

use std::fmt::Debug;

use opentelemetry::logs::AnyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::Status;
use opentelemetry::{KeyValue, Value};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::{InMemoryLogExporter, SdkLoggerProvider};
use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, Metric, MetricData, ResourceMetrics, ScopeMetrics,
};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer, SubscriberExt};

use crate::database::{Database, StatementLayer, is_statement};
use crate::http::HttpLayer;
use crate::propagation::Propagator;
use crate::subscriber::{is_exported, span_layer};
use crate::tracer::Tracer;

/// Captures spans, metrics and logs of the current thread until it is dropped. It does
/// not capture other threads, so use `#[tokio::test]` with its default flavor, a single thread.
#[derive(Debug)]
pub struct Capture {
    layer: HttpLayer,
    spans: InMemorySpanExporter,
    metrics: InMemoryMetricExporter,
    logs: InMemoryLogExporter,
    meter: SdkMeterProvider,
    _tracer: SdkTracerProvider,
    _logger: SdkLoggerProvider,
    _scope: tracing::subscriber::DefaultGuard,
}

impl Capture {
    /// Starts to capture. Every trace is sampled.
    #[must_use]
    pub fn start() -> Self {
        Self::with_sampler(Sampler::AlwaysOn)
    }

    /// Captures the traces that `sampler` samples.
    #[must_use]
    pub fn with_sampler(sampler: Sampler) -> Self {
        Self::new(sampler, None)
    }

    /// Also captures sqlx's statements. Every trace is sampled.
    #[must_use]
    pub fn with_database(database: &Database) -> Self {
        Self::new(Sampler::AlwaysOn, Some(database))
    }

    fn new(sampler: Sampler, database: Option<&Database>) -> Self {
        let spans = InMemorySpanExporter::default();
        let tracer = SdkTracerProvider::builder()
            .with_simple_exporter(spans.clone())
            .with_sampler(sampler)
            .build();
        let metrics = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(metrics.clone()).build();
        let meter = SdkMeterProvider::builder().with_reader(reader).build();
        let logs = InMemoryLogExporter::default();
        let logger = SdkLoggerProvider::builder()
            .with_simple_exporter(logs.clone())
            .build();
        let statements = database.map(|database| {
            StatementLayer::new(
                database,
                &meter.meter("test"),
                Some(Tracer::new(&tracer, "test")),
            )
            .with_filter(filter_fn(is_statement))
        });
        // The filters of production, but at every level.
        let traced = filter_fn(|metadata| metadata.is_span() && is_exported(metadata));
        let logged = filter_fn(|metadata| {
            metadata.is_event() && is_exported(metadata) && !is_statement(metadata)
        });
        let span_layer = span_layer(Tracer::new(&tracer, "test"));
        let scope = tracing_subscriber::registry()
            .with(span_layer.with_filter(traced))
            .with(OpenTelemetryTracingBridge::new(&logger).with_filter(logged))
            .with(statements);
        Self {
            layer: HttpLayer::from_providers(&tracer, &meter),
            spans,
            metrics,
            logs,
            meter,
            _tracer: tracer,
            _logger: logger,
            _scope: tracing::subscriber::set_default(scope),
        }
    }

    /// The layer for the router under test.
    #[must_use]
    pub fn layer(&self) -> HttpLayer {
        self.layer.clone()
    }

    /// The default propagator: W3C Trace Context and W3C Baggage.
    #[must_use]
    pub fn propagator(&self) -> impl TextMapPropagator + use<> {
        Propagator::new(true, true)
    }

    /// The meter for metrics other than those of requests.
    #[must_use]
    pub fn meter(&self) -> opentelemetry::metrics::Meter {
        self.meter.meter("test")
    }

    /// The spans that have ended, in that order.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let spans = self.spans.get_finished_spans().unwrap_or_default();
        spans.into_iter().map(Span).collect()
    }

    /// The only ended span with this name.
    ///
    /// # Panics
    ///
    /// If there is none, or more than one.
    #[must_use]
    #[track_caller]
    pub fn span(&self, name: &str) -> Span {
        let spans = self.spans();
        let names: Vec<_> = spans.iter().map(|span| span.0.name.to_string()).collect();
        only(
            spans.into_iter().filter(|span| span.0.name == name),
            "span",
            name,
            &names,
        )
    }

    /// The data points of an instrument, one for each set of attributes.
    #[must_use]
    pub fn points(&self, instrument: &str) -> Vec<Point> {
        let read = |metric: &Metric| {
            if metric.name() != instrument {
                return Vec::new();
            }
            let mut points = points(metric.data());
            for point in &mut points {
                metric.unit().clone_into(&mut point.unit);
            }
            points
        };
        self.collected(read).into_iter().flatten().collect()
    }

    /// The names of the instruments that recorded something.
    #[must_use]
    pub fn instruments(&self) -> Vec<String> {
        let mut names = self.collected(|metric| metric.name().to_owned());
        names.sort_unstable();
        names.dedup();
        names
    }

    fn collected<T>(&self, read: impl Fn(&Metric) -> T) -> Vec<T> {
        self.metrics.reset();
        // Metrics that cannot be collected are missing, which fails the caller's assertion.
        let _ = self.meter.force_flush();
        let collected = self.metrics.get_finished_metrics().unwrap_or_default();
        let scopes = collected.iter().flat_map(ResourceMetrics::scope_metrics);
        scopes.flat_map(ScopeMetrics::metrics).map(read).collect()
    }

    /// The only data point of an instrument.
    ///
    /// # Panics
    ///
    /// If there is none, or more than one.
    #[must_use]
    #[track_caller]
    pub fn point(&self, instrument: &str) -> Point {
        let points = self.points(instrument);
        let found = format!("{points:#?}");
        only(points.into_iter(), "point", instrument, &found)
    }

    /// The log records, in order.
    #[must_use]
    pub fn logs(&self) -> Vec<Log> {
        let logs = self.logs.get_emitted_logs().unwrap_or_default();
        logs.into_iter()
            .map(|log| Log {
                text: match log.record.body() {
                    Some(AnyValue::String(text)) => text.to_string(),
                    other => format!("{other:?}"),
                },
                attributes: log
                    .record
                    .attributes_iter()
                    .map(|(key, value)| (key.to_string(), format!("{value:?}")))
                    .collect(),
                trace_id: log
                    .record
                    .trace_context()
                    .map(|trace| trace.trace_id.to_string()),
            })
            .collect()
    }
}

/// A span that has ended.
#[derive(Clone, Debug)]
pub struct Span(pub SpanData);

impl Span {
    /// The value of an attribute.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        get(&self.0.attributes, key)
    }

    /// Asserts the value of an attribute.
    ///
    /// # Panics
    ///
    /// If it is missing or different.
    #[track_caller]
    pub fn has(&self, key: &str, value: impl Into<Value>) -> &Self {
        has(&self.0.attributes, key, value.into());
        self
    }

    /// Asserts that an attribute is missing.
    ///
    /// # Panics
    ///
    /// If it is present.
    #[track_caller]
    pub fn lacks(&self, key: &str) -> &Self {
        assert_eq!(self.get(key), None, "{key}");
        self
    }

    /// Whether its status is an error.
    #[must_use]
    pub fn failed(&self) -> bool {
        matches!(self.0.status, Status::Error { .. })
    }
}

/// A data point of an instrument.
#[derive(Clone, Debug)]
pub struct Point {
    /// The attributes.
    pub attributes: Vec<KeyValue>,
    /// The number of a histogram's values; 1 for a sum or a gauge.
    pub count: u64,
    /// The sum of a histogram's values; the value of a sum or a gauge.
    pub sum: f64,
    /// The boundaries of a histogram's buckets.
    pub bounds: Vec<f64>,
    /// The instrument's unit, such as `s`.
    pub unit: String,
}

impl Point {
    /// Asserts the value of an attribute.
    ///
    /// # Panics
    ///
    /// If it is missing or different.
    #[track_caller]
    pub fn has(&self, key: &str, value: impl Into<Value>) -> &Self {
        has(&self.attributes, key, value.into());
        self
    }

    /// Asserts that an attribute is missing.
    ///
    /// # Panics
    ///
    /// If it is present.
    #[track_caller]
    pub fn lacks(&self, key: &str) -> &Self {
        assert_eq!(get(&self.attributes, key), None, "{key}");
        self
    }
}

/// A log record.
#[derive(Clone, Debug)]
pub struct Log {
    /// The message.
    pub text: String,
    /// The fields, with the debug output of their values.
    pub attributes: Vec<(String, String)>,
    /// The trace's id, as 32 hexadecimal digits.
    pub trace_id: Option<String>,
}

fn get<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes
        .iter()
        .find(|attribute| attribute.key.as_str() == key);
    found.map(|attribute| &attribute.value)
}

#[track_caller]
fn has(attributes: &[KeyValue], key: &str, value: Value) {
    assert_eq!(
        get(attributes, key),
        Some(&value),
        "{key} in {attributes:#?}"
    );
}

#[track_caller]
#[allow(clippy::panic, reason = "an assertion")]
fn only<T>(mut found: impl Iterator<Item = T>, what: &str, name: &str, all: &dyn Debug) -> T {
    match (found.next(), found.next()) {
        (Some(one), None) => one,
        (None, _) => panic!("no {what} `{name}` among {all:?}"),
        (Some(_), Some(_)) => panic!("more than one {what} `{name}` among {all:?}"),
    }
}

fn points(data: &AggregatedMetrics) -> Vec<Point> {
    macro_rules! points {
        ($data:expr) => {
            match $data {
                MetricData::Histogram(histogram) => histogram
                    .data_points()
                    .map(|point| Point {
                        attributes: point.attributes().cloned().collect(),
                        count: point.count(),
                        sum: number(point.sum()),
                        bounds: point.bounds().collect(),
                        unit: String::new(),
                    })
                    .collect(),
                MetricData::Sum(sum) => sum
                    .data_points()
                    .map(|point| single(point.attributes(), number(point.value())))
                    .collect(),
                MetricData::Gauge(gauge) => gauge
                    .data_points()
                    .map(|point| single(point.attributes(), number(point.value())))
                    .collect(),
                MetricData::ExponentialHistogram(_) => Vec::new(),
            }
        };
    }
    match data {
        AggregatedMetrics::F64(data) => points!(data),
        AggregatedMetrics::U64(data) => points!(data),
        AggregatedMetrics::I64(data) => points!(data),
    }
}

fn single<'a>(attributes: impl Iterator<Item = &'a KeyValue>, sum: f64) -> Point {
    Point {
        attributes: attributes.cloned().collect(),
        count: 1,
        sum,
        bounds: Vec::new(),
        unit: String::new(),
    }
}

/// Converts exactly, as values in tests are small.
fn number(value: impl ToString) -> f64 {
    value.to_string().parse().unwrap_or(f64::NAN)
}
