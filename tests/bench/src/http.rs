//! Measures what telemetry adds to a request, in-process and over sockets, with exporters that
//! discard everything. Compares bare axum, this toolkit, and other layers for Tower.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use axum::{Router, response::Response};
use http_body_util::BodyExt;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
use platform_observability::http::HttpLayer;
use serde_json::{Map, Value};
use tower::Service;
use tracing_subscriber::layer::SubscriberExt;

use crate::load::{Clients, Turn, cpu_of_a_request};
use crate::spread::Spread;
use crate::{cpu, load};

/// The index of the toolkit in [`NAMES`].
pub(crate) const OURS: usize = 2;
/// The index of the first peer.
const PEERS: usize = 3;

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const SAMPLED_OUT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// The names of the compared services in the documents: the baseline, a layer without an effect,
/// the toolkit, and its peers.
pub(crate) const NAMES: [&str; 6] = [
    "bare axum 0.8",
    "a layer that does nothing",
    "platform-observability",
    "opentelemetry-instrumentation-tower 0.19",
    "axum-tracing-opentelemetry 0.42 (traces only)",
    "tower-otel 0.12",
];

pub(crate) fn run(quick: bool) -> Map<String, Value> {
    // Short rounds, as the load of a shared machine varies.
    let (rounds, requests) = if quick { (31, 1_000) } else { (501, 1_000) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut services = set_up();
    say!(
        "HTTP traces and metrics, no-op exporters, in-process; medians of {rounds} alternating rounds of {requests} requests\n"
    );
    let mut figures = Map::new();
    for (kind, parent) in [("sampled", SAMPLED), ("sampled out", SAMPLED_OUT)] {
        let mut nanoseconds: Vec<Vec<f64>> = vec![Vec::new(); NAMES.len()];
        for round in 0..=rounds {
            for turn in 0..NAMES.len() {
                let at = (round + turn) % NAMES.len();
                let took = runtime.block_on(serve(&mut services[at], parent, requests));
                // The first one is a warm-up.
                if round > 0 {
                    nanoseconds[at].push(took.as_secs_f64() * 1e9 / f64::from(requests));
                }
            }
            if round % 10 == 0 {
                eprint!("\r{kind}: {round} of {rounds} ");
            }
        }
        // In a separate pass, as counting takes time.
        let allocated = std::array::from_fn(|at| {
            let count = || {
                runtime.block_on(serve(&mut services[at], parent, requests));
            };
            let counted = allocation_counter::measure(count).count_total;
            #[expect(clippy::cast_precision_loss, reason = "a mean of few")]
            let counted = counted as f64;
            counted / f64::from(requests)
        });
        eprint!("\r                              \r");
        report(kind, &nanoseconds, allocated, &mut figures);
    }
    over_sockets(&services, quick, &mut figures);
    figures
}

/// Measures the CPU time of a request over a socket, including the client's.
fn over_sockets(services: &[Router], quick: bool, figures: &mut Map<String, Value>) {
    const CLIENTS: usize = 16;
    let (rounds, lasting) = if quick {
        (5, Duration::from_millis(200))
    } else {
        (31, Duration::from_millis(300))
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let turns: Vec<Vec<Turn>> = runtime.block_on(async {
        let mut clients = Vec::new();
        for service in services {
            clients.push(Clients::connect(load::serve(service.clone()).await, CLIENTS).await);
        }
        let mut turns: Vec<Vec<Turn>> = NAMES.iter().map(|_| Vec::new()).collect();
        for round in 0..=rounds {
            eprint!("\rover sockets: {round} of {rounds} ");
            for turn in 0..NAMES.len() {
                let at = (round + turn) % NAMES.len();
                let cpu = || Some([cpu::of_this_process()?, 0.0]);
                let sampled = || request(SAMPLED);
                let done = clients[at].run(CLIENTS, sampled, lasting, cpu).await;
                // The first one is a warm-up.
                if round > 0 {
                    turns[at].push(done);
                }
            }
        }
        eprint!("\r                              \r");
        turns
    });
    say!(
        "{:<48} {:>9} {:>9} {:>9}",
        format!("over sockets, {CLIENTS} clients, sampled"),
        "req/s",
        "CPU µs",
        "added"
    );
    let mut bare = None;
    for (name, turns) in NAMES.iter().zip(turns) {
        let rate = Spread::of(turns.iter().map(|turn| turn.rate).collect());
        let Some([used, _]) = cpu_of_a_request(&turns) else {
            say!("  {name:<46} {:>9.0}", rate.median);
            continue;
        };
        let added = used - *bare.get_or_insert(used);
        say!("  {name:<46} {:>9.0} {used:>9.1} {added:>9.1}", rate.median);
        figures.insert(format!("http.socket.{name}.cpu_us"), tenths(used).into());
        figures.insert(
            format!("http.socket.{name}.added_cpu_us"),
            tenths(added).into(),
        );
    }
    say!();
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn report(
    kind: &str,
    nanoseconds: &[Vec<f64>],
    allocated: [f64; NAMES.len()],
    figures: &mut Map<String, Value>,
) {
    say!(
        "{kind:<48} {:>9} {:>9} {:>15} {:>7}",
        "ns",
        "added",
        "(quartiles)",
        "allocs"
    );
    // Compares within each round, during which the machine's noise is nearly constant.
    let added: Vec<Vec<f64>> = nanoseconds
        .iter()
        .map(|of| {
            of.iter()
                .zip(&nanoseconds[0])
                .map(|(it, bare)| it - bare)
                .collect()
        })
        .collect();
    for (at, name) in NAMES.iter().enumerate() {
        let whole = Spread::of(nanoseconds[at].clone());
        let added = Spread::of(added[at].clone());
        say!(
            "  {name:<46} {:>9.0} {:>9.0} {:>15} {:>+7.1}",
            whole.median,
            added.median,
            format!("{:.0} to {:.0}", added.low, added.high),
            allocated[at] - allocated[0],
        );
        let noise = if whole.is_noisy() { " (noisy)" } else { "" };
        if !noise.is_empty() && at == 0 {
            say!("    the machine is noisy: repeat the run when it is idle");
        }
    }
    let key = if kind == "sampled" {
        "http"
    } else {
        "http.sampled_out"
    };
    let peers = PEERS..NAMES.len();
    // Peers without metrics are included, although they do less.
    let median = |at: usize| Spread::of(added[at].clone()).median;
    let best = peers
        .clone()
        .min_by(|one, other| median(*one).total_cmp(&median(*other)))
        .expect("there are peers");
    let fewest = peers
        .map(|at| allocated[at] - allocated[0])
        .fold(f64::INFINITY, f64::min);
    let time = Spread::of_ratios(&added[OURS], &added[best]).median;
    let allocations = (allocated[OURS] - allocated[0]) / fewest;
    say!("  added time {time:.2}, added allocations {allocations:.2} of the best peer's\n");
    figures.insert(format!("{key}.added_ns"), median(OURS).round().into());
    figures.insert(
        format!("{key}.added_allocations"),
        (allocated[OURS] - allocated[0]).into(),
    );
    let (time_key, allocations_key) = if kind == "sampled" {
        (
            "http.added_time_vs_best_peer",
            "http.added_allocations_vs_best_peer",
        )
    } else {
        (
            "http.sampled_out_vs_best_peer",
            "http.sampled_out_allocations_vs_best_peer",
        )
    };
    figures.insert(time_key.to_owned(), time.into());
    figures.insert(allocations_key.to_owned(), allocations.into());
    let bare = Spread::of(nanoseconds[0].clone()).median.round();
    figures.insert(format!("{key}.bare_ns"), bare.into());
    for (at, name) in NAMES.iter().enumerate().skip(1) {
        if at == OURS {
            continue;
        }
        figures.insert(
            format!("{key}.peer.{name}.added_ns"),
            median(at).round().into(),
        );
        figures.insert(
            format!("{key}.peer.{name}.added_allocations"),
            (allocated[at] - allocated[0]).into(),
        );
    }
}

/// Creates the services in the order of [`NAMES`]. Some layers use OpenTelemetry's global
/// providers.
fn set_up() -> Vec<Router> {
    let tracer = SdkTracerProvider::builder()
        .with_simple_exporter(DiscardingExporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .build();
    let reader = PeriodicReader::builder(DiscardingExporter)
        .with_interval(Duration::from_secs(3600))
        .build();
    let meter = SdkMeterProvider::builder().with_reader(reader).build();
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    opentelemetry::global::set_tracer_provider(tracer.clone());
    opentelemetry::global::set_meter_provider(meter.clone());
    let subscriber = tracing_subscriber::registry()
        .with(tracing_subscriber::filter::LevelFilter::INFO)
        .with(tracing_opentelemetry::layer().with_tracer(tracer.tracer("bench")));
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let bare = || Router::new().route("/entries/{id}", get(async || "hello"));
    let services = [
        bare(),
        bare().layer(tower::layer::util::Identity::new()),
        bare().layer(HttpLayer::from_providers(&tracer, &meter).parent_based()),
        bare().layer(opentelemetry_instrumentation_tower::http::server::Layer::new()),
        bare().layer(axum_tracing_opentelemetry::middleware::OtelAxumLayer::default()),
        bare()
            .layer(tower_otel::trace::HttpLayer::server(tracing::Level::INFO))
            .layer(tower_otel::metrics::HttpLayer::server(
                &opentelemetry::global::meter("bench"),
            )),
    ];
    // As `axum::serve` does: otherwise the layers are created for each request.
    services.map(|service| service.with_state(())).into()
}

/// Returns the duration of this many requests.
async fn serve(service: &mut Router, parent: &str, requests: u32) -> Duration {
    let began = Instant::now();
    for _ in 0..requests {
        let response: Result<Response, Infallible> = service.call(request(parent)).await;
        let body = response.unwrap().into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "hello");
    }
    began.elapsed()
}

fn request(parent: &str) -> Request<Body> {
    Request::builder()
        .uri("/entries/7")
        .header("host", "ledger.example")
        .header("user-agent", "bench/1")
        .header("traceparent", parent)
        .body(Body::empty())
        .unwrap()
}

/// Discards everything.
#[derive(Debug)]
struct DiscardingExporter;

impl SpanExporter for DiscardingExporter {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

impl PushMetricExporter for DiscardingExporter {
    async fn export(&self, _: &ResourceMetrics) -> OTelSdkResult {
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}
