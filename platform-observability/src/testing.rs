//! Telemetry in memory, for a service's own tests (feature `testing`):
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

use crate::database::{Database, Statements};
use crate::http::HttpLayer;
use crate::propagation::Propagation;
use crate::subscriber::{exported, is_statement};
use crate::tracer::Tracer;

/// What the code under test traced, measured and logged on this thread. It lasts until it is
/// dropped; a runtime with several threads needs one each, so tests best use
/// `#[tokio::test]` as it is.
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
    /// Captures from now on. Every trace is sampled.
    #[must_use]
    pub fn start() -> Self {
        Self::sampled_by(Sampler::AlwaysOn)
    }

    /// Captures what `sampler` lets through.
    #[must_use]
    pub fn sampled_by(sampler: Sampler) -> Self {
        Self::new(sampler, None)
    }

    /// Captures what sqlx asks the database also. Every trace is sampled.
    #[must_use]
    pub fn of_database(database: &Database) -> Self {
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
            Statements::new(
                database,
                &meter.meter("test"),
                Some(Tracer::of(&tracer, "test")),
            )
            .with_filter(filter_fn(is_statement))
        });
        // As in production, but at every level.
        let traced = filter_fn(|metadata| metadata.is_span() && exported(metadata));
        let logged = filter_fn(|metadata| {
            metadata.is_event() && exported(metadata) && !is_statement(metadata)
        });
        let spans_of = crate::subscriber::spans(Tracer::of(&tracer, "test"));
        let scope = tracing_subscriber::registry()
            .with(spans_of.with_filter(traced))
            .with(OpenTelemetryTracingBridge::new(&logger).with_filter(logged))
            .with(statements);
        Self {
            layer: HttpLayer::of_providers(&tracer, &meter),
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

    /// What carries a trace to others, as the environment's default is.
    #[must_use]
    pub fn propagator(&self) -> impl TextMapPropagator + use<> {
        Propagation::new(true, true)
    }

    /// The meter for what is measured besides requests.
    #[must_use]
    pub fn meter(&self) -> opentelemetry::metrics::Meter {
        self.meter.meter("test")
    }

    /// The spans that have ended, in the order of their ends.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let spans = self.spans.get_finished_spans().unwrap_or_default();
        spans.into_iter().map(Span).collect()
    }

    /// The one span that has ended with this name.
    ///
    /// # Panics
    ///
    /// When there is none, or more than one.
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

    /// What was recorded of an instrument: a point for each set of attributes.
    #[must_use]
    pub fn points(&self, instrument: &str) -> Vec<Point> {
        let of_instrument = |metric: &Metric| {
            if metric.name() != instrument {
                return Vec::new();
            }
            let mut points = points(metric.data());
            for point in &mut points {
                metric.unit().clone_into(&mut point.unit);
            }
            points
        };
        self.collected(of_instrument)
            .into_iter()
            .flatten()
            .collect()
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
        // What cannot be collected is not there, which the caller's assertion tells.
        let _ = self.meter.force_flush();
        let collected = self.metrics.get_finished_metrics().unwrap_or_default();
        let scopes = collected.iter().flat_map(ResourceMetrics::scope_metrics);
        scopes.flat_map(ScopeMetrics::metrics).map(read).collect()
    }

    /// The one point of an instrument.
    ///
    /// # Panics
    ///
    /// When nothing was recorded, or with more than one set of attributes.
    #[must_use]
    #[track_caller]
    pub fn point(&self, instrument: &str) -> Point {
        let points = self.points(instrument);
        let found = format!("{points:#?}");
        only(points.into_iter(), "point", instrument, &found)
    }

    /// The events that were logged, in order.
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
    /// When it is missing or another.
    #[track_caller]
    pub fn has(&self, key: &str, value: impl Into<Value>) -> &Self {
        has(&self.0.attributes, key, value.into());
        self
    }

    /// Asserts that an attribute is missing.
    ///
    /// # Panics
    ///
    /// When it is there.
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

/// What an instrument recorded with one set of attributes.
#[derive(Clone, Debug)]
pub struct Point {
    /// The attributes.
    pub attributes: Vec<KeyValue>,
    /// How often a histogram was recorded to; 1 for a sum or a gauge.
    pub count: u64,
    /// The sum of what a histogram recorded; the value of a sum or a gauge.
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
    /// When it is missing or another.
    #[track_caller]
    pub fn has(&self, key: &str, value: impl Into<Value>) -> &Self {
        has(&self.attributes, key, value.into());
        self
    }

    /// Asserts that an attribute is missing.
    ///
    /// # Panics
    ///
    /// When it is there.
    #[track_caller]
    pub fn lacks(&self, key: &str) -> &Self {
        assert_eq!(get(&self.attributes, key), None, "{key}");
        self
    }
}

/// An event that was logged.
#[derive(Clone, Debug)]
pub struct Log {
    /// Its message.
    pub text: String,
    /// Its fields, their values as they are debugged.
    pub attributes: Vec<(String, String)>,
    /// The trace it belongs to, as 32 hexadecimal digits.
    pub trace_id: Option<String>,
}

fn get<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|it| it.key.as_str() == key);
    found.map(|it| &it.value)
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

/// What is measured in a test is far from the limits of a double.
fn number(value: impl ToString) -> f64 {
    value.to_string().parse().unwrap_or(f64::NAN)
}
