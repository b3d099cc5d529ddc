//! That the layer does not see the routes. What they answer: tests/health.rs.

use std::future::IntoFuture;

use axum::Router;
use axum::routing::get;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::propagation::TextMapCompositePropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use tokio::net::TcpListener;
use tracing_subscriber::layer::SubscriberExt;

use super::Health;
use crate::http::HttpLayer;

#[tokio::test]
async fn probes_merged_after_the_layer_are_neither_traced_nor_measured() {
    let spans = InMemorySpanExporter::default();
    let tracer = SdkTracerProvider::builder()
        .with_simple_exporter(spans.clone())
        .build();
    let traces = tracing_opentelemetry::layer().with_tracer(tracer.tracer("test"));
    let subscriber = tracing_subscriber::registry().with(traces);
    let _scope = tracing::subscriber::set_default(subscriber);
    let metrics = InMemoryMetricExporter::default();
    let reader = PeriodicReader::builder(metrics.clone()).build();
    let meter = SdkMeterProvider::builder().with_reader(reader).build();
    let propagator = TextMapCompositePropagator::new(Vec::new());
    let layer = HttpLayer::new(&meter.meter("test"), propagator, false);

    let health = Health::new().check("nothing", async || Ok::<(), String>(()));
    let app: Router = Router::new()
        .route("/accounts", get(async || "hello"))
        .layer(layer)
        .merge(health.router());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app).into_future());
    for path in ["livez", "accounts", "readyz"] {
        let url = format!("http://{address}/{path}");
        let response = reqwest::get(url).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }

    let names: Vec<_> = spans
        .get_finished_spans()
        .unwrap()
        .into_iter()
        .map(|span| span.name)
        .collect();
    assert_eq!(names, ["GET /accounts"]);
    meter.force_flush().unwrap();
    let exported = metrics.get_finished_metrics().unwrap();
    let durations: u64 = exported
        .iter()
        .flat_map(opentelemetry_sdk::metrics::data::ResourceMetrics::scope_metrics)
        .flat_map(opentelemetry_sdk::metrics::data::ScopeMetrics::metrics)
        .filter(|metric| metric.name() == "http.server.request.duration")
        .map(|metric| match metric.data() {
            AggregatedMetrics::F64(MetricData::Histogram(histogram)) => histogram
                .data_points()
                .map(opentelemetry_sdk::metrics::data::HistogramDataPoint::count)
                .sum(),
            _ => 0,
        })
        .sum();
    assert_eq!(durations, 1);
}
