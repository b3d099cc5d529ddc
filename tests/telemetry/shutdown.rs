//! Shutdown from every kind of tokio runtime, also after a panic, loses nothing and does not hang.

use std::process::Stdio;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use platform_harness::otlp::{HANG, Receiver};

/// The number of spans, events and increments that the probe makes.
const ITEMS: usize = 1000;

/// Runs the probe. Returns the result of its shutdown, and its standard error.
async fn probe(mode: &str, variables: &[(&str, &str)]) -> (String, Vec<String>) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_shutdown_probe"));
    for (name, _) in std::env::vars() {
        if name.starts_with("OTEL_") || name.starts_with("AXIOM_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    let running = command
        .arg(mode)
        .envs(variables.iter().copied())
        .kill_on_drop(true)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output();
    let output = tokio::time::timeout(HANG, running)
        .await
        .unwrap_or_else(|_| panic!("{mode} hangs"))
        .unwrap();
    let result = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let errors = errors.lines().filter(|it| !it.contains("worked"));
    (result, errors.map(str::to_owned).collect())
}

async fn everything_arrives(mode: &str) {
    let receiver = Receiver::start().await;
    let url = receiver.url();
    let (result, errors) = probe(mode, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]).await;
    assert_eq!(result, "ok", "{errors:#?}");
    let spans = receiver.spans();
    assert_eq!(spans.iter().filter(|it| it.name == "work").count(), ITEMS);
    // There are also log records of the panics.
    let logs = receiver.logs();
    let worked = |body: &opentelemetry_proto::tonic::logs::v1::LogRecord| {
        format!("{:?}", body.body).contains("\"worked\"")
    };
    assert_eq!(logs.iter().filter(|it| worked(it)).count(), ITEMS);
    let metrics = receiver.metrics();
    let counter = metrics.iter().rfind(|it| it.name == "worked");
    let counted = counter.and_then(|it| match &it.data {
        Some(Data::Sum(sum)) => sum.data_points.last()?.value,
        _ => None,
    });
    assert_eq!(counted, Some(Value::AsInt(i64::try_from(ITEMS).unwrap())));
}

#[tokio::test]
async fn shutdown_from_a_current_thread_runtime_loses_nothing() {
    everything_arrives("current-thread").await;
}

#[tokio::test]
async fn shutdown_from_a_runtime_with_one_worker_loses_nothing() {
    everything_arrives("one-worker").await;
    everything_arrives("one-worker-task").await;
}

#[tokio::test]
async fn shutdown_from_a_nested_runtime_loses_nothing() {
    everything_arrives("nested").await;
    everything_arrives("nested-task").await;
}

#[tokio::test]
async fn shutdown_after_a_start_without_a_runtime_loses_nothing() {
    everything_arrives("no-runtime").await;
}

#[tokio::test]
async fn shutdown_after_a_panic_loses_nothing() {
    everything_arrives("after-panic").await;
    everything_arrives("dropped-by-panic").await;
}

/// The export timeout is ten minutes, and the shutdown timeout is 200 ms.
#[tokio::test]
async fn shutdown_with_a_hanging_endpoint_ends_at_its_timeout() {
    // Accepts connections and never responds.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    for mode in [
        "current-thread",
        "one-worker",
        "one-worker-task",
        "nested",
        "nested-task",
        "no-runtime",
        "after-panic",
        "dropped-by-panic",
    ] {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "600000"),
            ("PROBE_DEADLINE", "200"),
        ];
        let (result, errors) = probe(mode, &variables).await;
        // A dropped `Telemetry` cannot return an error.
        let expected = match mode {
            "dropped-by-panic" => "ok",
            _ => {
                "telemetry was not shut down within 200ms: queued telemetry may be lost; raise the shutdown timeout, or check the endpoint"
            }
        };
        assert_eq!(result, expected, "{mode}: {errors:#?}");
    }
}
