//! The OTLP exports of a service, as its receiver sees them. Each service is a separate process.

use std::process::Stdio;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use platform_harness::otlp::{HANG, Receiver, text};
use serde_json::Value;

/// The probe's JSON, its standard output before that, and its standard error.
pub(super) struct Seen {
    pub(super) report: Value,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Runs a probe that exports to its own receiver.
pub(super) async fn collected(variables: &[(&str, &str)]) -> (Receiver, Seen) {
    let receiver = Receiver::start().await;
    let url = receiver.url();
    let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str());
    let seen = probe(&[&[collector], variables].concat()).await;
    (receiver, seen)
}

pub(super) async fn probe(variables: &[(&str, &str)]) -> Seen {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_telemetry_probe"));
    for (name, _) in std::env::vars() {
        if name.starts_with("OTEL_")
            || name.starts_with("AXIOM_")
            || ["RUST_LOG", "CLICOLOR_FORCE"].contains(&&*name)
        {
            command.env_remove(name);
        }
    }
    command
        .envs(variables.iter().copied())
        .env("RUST_BACKTRACE", "0")
        .kill_on_drop(true);
    let running = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output();
    let output = tokio::time::timeout(HANG, running)
        .await
        .expect("the probe ends")
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let (stdout, report) = stdout.trim_end().rsplit_once('\n').unwrap_or(("", &stdout));
    let report = serde_json::from_str(report).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    let stdout = stdout.to_owned();
    Seen {
        report,
        stdout,
        stderr,
    }
}

/// The URL of a port that refuses connections while the socket exists.
pub(super) fn refusing_endpoint() -> (tokio::net::TcpSocket, String) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    (socket, url)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The span of the audited request.
pub(super) fn audited(receiver: &Receiver) -> opentelemetry_proto::tonic::trace::v1::Span {
    let spans = receiver.spans();
    let found = spans
        .iter()
        .find(|span| span.name == "POST /v1/entries/{id}");
    found
        .unwrap_or_else(|| panic!("no such span in {spans:#?}"))
        .clone()
}

#[tokio::test]
async fn axiom_gets_all_three_signals_each_with_its_own_headers() {
    let receiver = Receiver::start().await;
    let seen = probe(&[
        ("AXIOM_TOKEN", "xaat-test"),
        ("AXIOM_EDGE_URL", &receiver.url()),
        ("AXIOM_LOGS_DATASET", "all-logs"),
        // For a collector. It must not replace the token.
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20stray"),
    ])
    .await;
    assert_eq!(seen.report["shutdown"], Value::Null, "{}", seen.report);
    for (signal, header, dataset, other) in [
        (
            "traces",
            "x-axiom-dataset",
            "probe-traces",
            "x-axiom-metrics-dataset",
        ),
        (
            "logs",
            "x-axiom-dataset",
            "all-logs",
            "x-axiom-metrics-dataset",
        ),
        (
            "metrics",
            "x-axiom-metrics-dataset",
            "probe-metrics",
            "x-axiom-dataset",
        ),
    ] {
        let exports = receiver.exports(&format!("/v1/{signal}"));
        assert!(!exports.is_empty(), "no {signal}");
        for export in exports {
            assert_eq!(
                export.headers["authorization"], "Bearer xaat-test",
                "{signal}"
            );
            assert_eq!(export.headers[header], dataset, "{signal}");
            assert!(!export.headers.contains_key(other), "{signal}");
            assert_eq!(
                export.headers["content-type"], "application/x-protobuf",
                "{signal}"
            );
            assert_eq!(export.headers["content-encoding"], "gzip", "{signal}");
        }
    }
    assert!(
        !seen.stderr.contains("xaat-test"),
        "the token is in the log: {}",
        seen.stderr
    );
}

#[tokio::test]
async fn the_record_the_log_and_the_span_share_one_trace() {
    let (receiver, seen) = collected(&[]).await;
    assert_eq!(seen.report["status"], 201);
    let span = audited(&receiver);
    // The caller's trace is continued.
    assert_eq!(hex(&span.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&span.parent_span_id), "b7ad6b7169203331");
    assert_eq!(
        text(&span.attributes, "http.route"),
        Some("/v1/entries/{id}")
    );
    assert_eq!(text(&span.attributes, "url.path"), Some("/v1/entries/7"));
    assert_eq!(text(&span.attributes, "client.address"), Some("127.0.0.1"));
    // The audit record.
    let record = &seen.report["record"];
    assert_eq!(record["trace_id"], hex(&span.trace_id));
    assert_eq!(record["span_id"], hex(&span.span_id));
    let request_id = record["request_id"]
        .as_str()
        .expect("the telemetry layer made one");
    assert!(
        format!("{:?}", span.attributes).contains(request_id),
        "the span names the request too"
    );
    // The log, written on the handler's own task.
    let logs = receiver.logs();
    let inside: Vec<_> = logs
        .iter()
        .filter(|log| format!("{:?}", log.body).contains("inside the handler"))
        .collect();
    assert_eq!(inside.len(), 1, "one event is one log: {logs:#?}");
    assert_eq!(hex(&inside[0].trace_id), hex(&span.trace_id));
    assert_eq!(hex(&inside[0].span_id), hex(&span.span_id));
    assert!(
        span.events.is_empty(),
        "the event is a log, not also a span's event: {:?}",
        span.events
    );
    // The handler's active span is an exported one.
    let ids: Vec<_> = receiver
        .spans()
        .iter()
        .map(|span| format!("{}-{}", hex(&span.trace_id), hex(&span.span_id)))
        .collect();
    assert!(
        ids.contains(&seen.report["seen"].as_str().unwrap().to_owned()),
        "{ids:?}"
    );
}

#[tokio::test]
async fn durations_and_audit_counters_are_exported() {
    let (receiver, _) = collected(&[]).await;
    let metrics = receiver.metrics();
    let named = |name: &str| {
        metrics
            .iter()
            .find(|metric| metric.name == name)
            .unwrap_or_else(|| panic!("no {name}"))
    };
    let duration = named("http.server.request.duration");
    assert_eq!(duration.unit, "s");
    let Some(Data::Histogram(histogram)) = &duration.data else {
        panic!("no histogram: {duration:?}")
    };
    let routes: Vec<_> = histogram
        .data_points
        .iter()
        .filter_map(|point| text(&point.attributes, "http.route"))
        .collect();
    assert!(routes.contains(&"/v1/entries/{id}"), "{routes:?}");
    let Some(Data::Sum(records)) = &named("audit.records").data else {
        panic!("no sum")
    };
    assert_eq!(records.data_points.len(), 1);
}

#[tokio::test]
async fn after_a_panic_its_span_still_arrives() {
    let (receiver, seen) = collected(&[]).await;
    assert_eq!(seen.report["panicked"], true);
    let spans = receiver.spans();
    let panicked = spans
        .iter()
        .find(|span| span.name == "GET /v1/panic")
        .expect("its span");
    assert_eq!(text(&panicked.attributes, "error.type"), Some("panic"));
}

#[tokio::test]
async fn no_secrets_and_no_events_of_the_exporter_are_exported() {
    let receiver = Receiver::start().await;
    let noise = "trace,hyper=trace,hyper_util=trace,h2=trace,reqwest=trace,rustls=trace,opentelemetry=trace";
    probe(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
        ("RUST_LOG", noise),
    ])
    .await;
    let everything = format!("{:?} {:?}", receiver.spans(), receiver.logs());
    assert!(
        !everything.contains("token=secret"),
        "a query string was exported"
    );
    assert!(!everything.contains("INSERT INTO"), "SQL text was exported");
    let targets = receiver.targets();
    assert!(
        targets.contains(&"telemetry_probe".to_owned()),
        "{targets:?}"
    );
    let looped = targets.iter().filter(|target| {
        let sources = ["hyper", "h2", "reqwest", "rustls", "opentelemetry"];
        sources.iter().any(|source| target.starts_with(source))
    });
    assert_eq!(looped.count(), 0, "{targets:?}");
}

#[tokio::test]
async fn an_unreachable_endpoint_fails_no_request_and_is_an_error_at_shutdown() {
    let (_kept, url) = refusing_endpoint();
    let seen = probe(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]).await;
    assert_eq!(seen.report["status"], 201);
    assert!(
        seen.report["shutdown"].is_string(),
        "lost telemetry is an error: {}",
        seen.report
    );
}

#[tokio::test]
async fn a_collector_that_never_responds_delays_neither_requests_nor_shutdown() {
    // Accepts connections and never responds.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let started = std::time::Instant::now();
    let seen = probe(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "600000"),
        ("PROBE_DEADLINE", "200"),
    ])
    .await;
    assert_eq!(seen.report["status"], 201);
    let error = seen.report["shutdown"].as_str().unwrap();
    assert!(error.contains("lost") && error.contains("200ms"), "{error}");
    assert!(started.elapsed() < HANG / 2, "{:?}", started.elapsed());
}

#[tokio::test]
async fn spooled_telemetry_is_sent_by_the_next_process() {
    let (_kept, url) = refusing_endpoint();
    let directory = tempfile::tempdir().unwrap();
    let spool = directory.path().join("spool");
    let spool = ("PROBE_SPOOL", spool.to_str().unwrap());
    let seen = probe(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), spool]).await;
    assert_eq!(seen.report["shutdown"], Value::Null, "nothing is lost");
    let (receiver, seen) = collected(&[spool]).await;
    assert_eq!(seen.report["shutdown"], Value::Null);
    let twice = |count: usize, what: &str| assert_eq!(count, 2, "{what}");
    let spans = receiver.spans();
    let audited = spans.iter().filter(|it| it.name == "POST /v1/entries/{id}");
    twice(audited.count(), "spans");
    let logs = receiver.logs();
    let inside = logs
        .iter()
        .filter(|log| format!("{:?}", log.body).contains("inside the handler"));
    twice(inside.count(), "log records");
    let metrics = receiver.metrics();
    let uptimes = metrics.iter().filter(|it| it.name == "process.uptime");
    twice(uptimes.count(), "metrics");
}

#[tokio::test]
async fn telemetry_dropped_without_a_shutdown_still_sends_its_queue() {
    let (receiver, _) = collected(&[("PROBE_END", "drop")]).await;
    audited(&receiver);
    assert!(!receiver.logs().is_empty() && !receiver.metrics().is_empty());
}

#[tokio::test]
async fn a_successful_self_test_logs_the_endpoints_in_one_line() {
    let (receiver, seen) = collected(&[
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("PROBE_SELF_TEST", "1"),
    ])
    .await;
    assert_eq!(seen.report["self_test"], Value::Null);
    let url = receiver.url();
    let line = format!(
        "telemetry is accepted: traces at {url}/v1/traces, metrics at {url}/v1/metrics, logs at {url}/v1/logs"
    );
    let lines = seen.stderr.lines();
    let found = lines.filter(|it| it.ends_with(&line)).count();
    assert_eq!(found, 1, "{}", seen.stderr);
    let spans = receiver.spans();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["telemetry.self_test"]);
    let seen = probe(&[("PROBE_SELF_TEST", "1")]).await;
    assert!(
        seen.stderr.contains("telemetry is exported to no endpoint"),
        "{}",
        seen.stderr
    );
}
