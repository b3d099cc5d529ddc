//! Measures the resident memory for several lengths of the queue of spans, while the endpoint does
//! not respond. Each length is measured in a new process.

use std::net::TcpListener;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use platform_observability::Telemetry;
use serde_json::{Map, Value, json};
use tower::ServiceExt;

use crate::machine::resident;
use crate::subprocess;

/// Lengths of the queue in spans; the first is the specification's default.
pub(crate) const LENGTHS: [u64; 5] = [2_048, 8_192, 32_768, 131_072, 524_288];
/// The environment variable of a child process that contains the length to measure.
const LENGTH_VARIABLE: &str = "PLATFORM_BENCH_QUEUE";

pub(crate) fn run() -> Map<String, Value> {
    if let Ok(length) = std::env::var(LENGTH_VARIABLE) {
        fill(length.parse().unwrap());
    }
    // The kernel accepts connections; nothing reads from them.
    let unresponsive = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", unresponsive.local_addr().unwrap());
    let mut figures = Map::new();
    say!("twice as many requests as the queue has room for, and an endpoint that never responds\n");
    say!(
        "{:>9} {:>9} {:>9} {:>9}",
        "queue",
        "waiting",
        "dropped",
        "MiB"
    );
    for length in LENGTHS {
        let mut command = subprocess::command(["queue"]);
        command.env(LENGTH_VARIABLE, length.to_string());
        command.env("OTEL_BSP_MAX_QUEUE_SIZE", length.to_string());
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
        let (_, result) = subprocess::run(&mut command);
        let [waiting, dropped] = ["waiting", "dropped"].map(|key| result[key].as_u64().unwrap());
        assert_eq!(waiting + dropped, 2 * length, "each span is accounted for");
        let mebibytes = result["mebibytes"].as_f64().unwrap();
        say!("{length:>9} {waiting:>9} {dropped:>9} {mebibytes:>9.1}");
        let rounded = (mebibytes * 10.0).round() / 10.0;
        figures.insert(format!("queue.{length}.mebibytes"), rounded.into());
    }
    figures
}

/// Handles twice as many requests as the queue has room for, prints the figures as JSON, and ends
/// the process.
fn fill(length: u64) -> ! {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let result = runtime.block_on(async {
        let telemetry = Telemetry::builder("bench")
            .log_filter("off")
            .init()
            .unwrap();
        let app = Router::new()
            .route("/entries/{id}", get(async || "hello"))
            .layer(telemetry.layer());
        for id in 0..2 * length {
            let request = Request::get(format!("/entries/{id}"));
            let request = request.body(Body::empty()).unwrap();
            app.clone().oneshot(request).await.unwrap();
        }
        let traces = telemetry.status().traces;
        json!({
            "waiting": traces.waiting,
            "dropped": traces.dropped_queue_full + traces.dropped_failed,
            "mebibytes": resident() / f64::from(1 << 20),
        })
    });
    say!("{result}");
    // A shutdown would wait for the endpoint, which does not respond.
    std::process::exit(0);
}
