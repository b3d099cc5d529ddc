//! What leaves a service over OTLP, seen by the receiver; each service is a process of its own.

use std::process::Stdio;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use platform_harness::otlp::{HANG, Receiver, text};
use serde_json::Value;

/// What the probe saw, and what it wrote: before its answer, and to standard error.
struct Seen {
    answer: Value,
    stdout: String,
    stderr: String,
}

/// A probe whose collector is a receiver of its own.
async fn collected(variables: &[(&str, &str)]) -> (Receiver, Seen) {
    let receiver = Receiver::start().await;
    let url = receiver.url();
    let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str());
    let seen = probe(&[&[collector], variables].concat()).await;
    (receiver, seen)
}

async fn probe(variables: &[(&str, &str)]) -> Seen {
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
    let (stdout, answer) = stdout.trim_end().rsplit_once('\n').unwrap_or(("", &stdout));
    let answer = serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    let stdout = stdout.to_owned();
    Seen {
        answer,
        stdout,
        stderr,
    }
}

/// Of a port on which nobody listens, as long as the socket is kept.
fn nobody_listens() -> (tokio::net::TcpSocket, String) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    (socket, url)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The span of the audited request.
fn audited(receiver: &Receiver) -> opentelemetry_proto::tonic::trace::v1::Span {
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
        // Meant for a collector; it must not replace the token.
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20stray"),
    ])
    .await;
    assert_eq!(seen.answer["shutdown"], Value::Null, "{}", seen.answer);
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
async fn a_collector_gets_what_its_variables_say() {
    let (receiver, seen) = collected(&[
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=clinic-7"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=ledger"),
        ("OTEL_SERVICE_NAME", "renamed"),
    ])
    .await;
    assert_eq!(seen.answer["shutdown"], Value::Null);
    for signal in ["traces", "logs", "metrics"] {
        let exports = receiver.exports(&format!("/v1/{signal}"));
        assert!(!exports.is_empty(), "no {signal}");
        assert!(
            exports
                .iter()
                .all(|export| export.headers["x-tenant"] == "clinic-7")
        );
        assert!(
            exports
                .iter()
                .all(|export| !export.headers.contains_key("content-encoding"))
        );
    }
    let resource = receiver.resource();
    assert_eq!(text(&resource, "service.name"), Some("renamed"));
    assert_eq!(text(&resource, "team"), Some("ledger"));
}

#[tokio::test]
async fn the_record_the_log_and_the_span_share_one_trace() {
    let (receiver, seen) = collected(&[]).await;
    assert_eq!(seen.answer["status"], 201);
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
    let record = &seen.answer["record"];
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
    // What work inside sees is what was exported.
    let ids: Vec<_> = receiver
        .spans()
        .iter()
        .map(|span| format!("{}-{}", hex(&span.trace_id), hex(&span.span_id)))
        .collect();
    assert!(
        ids.contains(&seen.answer["seen"].as_str().unwrap().to_owned()),
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
    assert_eq!(seen.answer["panicked"], true);
    let spans = receiver.spans();
    let panicked = spans
        .iter()
        .find(|span| span.name == "GET /v1/panic")
        .expect("its span");
    assert_eq!(text(&panicked.attributes, "error.type"), Some("panic"));
}

#[tokio::test]
async fn nothing_secret_and_nothing_of_the_exporter_is_exported() {
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
async fn a_dead_endpoint_costs_no_request_and_ends_with_a_clear_error() {
    let (_kept, url) = nobody_listens();
    let seen = probe(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]).await;
    assert_eq!(seen.answer["status"], 201);
    assert!(
        seen.answer["shutdown"].is_string(),
        "lost telemetry is said: {}",
        seen.answer
    );
}

#[tokio::test]
async fn with_nothing_configured_the_console_shows_what_happens() {
    let seen = probe(&[]).await;
    assert_eq!(seen.answer["shutdown"], Value::Null);
    assert!(
        seen.stderr.contains("inside the handler"),
        "{}",
        seen.stderr
    );
    for shown in [
        "  201 POST    /v1/entries/7 ",
        "├─ INFO  inside the handler",
        "└─ ✔ audit entry.create ",
    ] {
        assert!(seen.stderr.contains(shown), "{shown}: {}", seen.stderr);
    }
    assert!(
        !seen.stderr.contains("INSERT INTO"),
        "SQL text on the console: {}",
        seen.stderr
    );
    // Records have their trace all the same.
    assert_eq!(
        seen.answer["record"]["trace_id"],
        "0af7651916cd43dd8448eb211c80319c"
    );
}

#[tokio::test]
async fn a_disabled_sdk_exports_nothing() {
    let (receiver, seen) = collected(&[("OTEL_SDK_DISABLED", "true")]).await;
    assert_eq!(seen.answer["status"], 201);
    assert!(
        receiver.spans().is_empty() && receiver.logs().is_empty() && receiver.metrics().is_empty()
    );
}

#[tokio::test]
async fn a_bad_variable_and_a_second_start_are_clear_errors() {
    let seen = probe(&[("AXIOM_TOKEN", "xapt-personal")]).await;
    let error = seen.answer["init"].as_str().unwrap();
    assert!(
        error.contains("AXIOM_TOKEN") && error.contains("API token"),
        "{error}"
    );
    assert!(!error.contains("xapt-personal"), "{error}");
    let seen = probe(&[("OTEL_TRACES_EXPORTER", "none")]).await;
    assert!(
        seen.answer["second"]
            .as_str()
            .unwrap()
            .contains("already set up"),
        "{}",
        seen.answer
    );
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_nobody_up() {
    // Connections are established, and nothing more.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let started = std::time::Instant::now();
    let seen = probe(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "600000"),
        ("PROBE_DEADLINE", "200"),
    ])
    .await;
    assert_eq!(seen.answer["status"], 201);
    let error = seen.answer["shutdown"].as_str().unwrap();
    assert!(error.contains("lost") && error.contains("200ms"), "{error}");
    assert!(started.elapsed() < HANG / 2, "{:?}", started.elapsed());
}

/// Whatever `Telemetry` is asked for, of which each part has its own tests.
#[tokio::test]
async fn what_a_service_sets_up_reaches_the_receiver() {
    let (receiver, seen) = collected(&[("PROBE_FILTER", "debug")]).await;
    let resource = receiver.resource();
    for (key, value) in [
        ("service.version", "1.2.3"),
        ("vcs.ref.head.revision", "0af7651"),
        ("deployment.environment.name", "staging"),
    ] {
        assert_eq!(text(&resource, key), Some(value), "{key}");
    }
    let metrics = receiver.metrics();
    for name in [
        "process.uptime",
        "platform.tokio.workers",
        "db.client.connection.count",
    ] {
        let found = metrics.iter().any(|metric| metric.name == name);
        assert!(found, "no {name}");
    }
    let logs = format!("{:?}", receiver.logs());
    assert!(logs.contains("after the filter is changed"), "{logs}");
    assert!(!logs.contains("before the filter is changed"), "{logs}");
    assert!(
        logs.contains(&"x".repeat(100)) && !logs.contains(&"x".repeat(101)),
        "no attribute is longer than the limit: {logs}"
    );
    // The last span may end when its answer is there already.
    let told = seen.answer["spans"].as_u64().unwrap();
    let arrived = u64::try_from(receiver.spans().len()).unwrap();
    assert!((1..=arrived).contains(&told), "{told} of {arrived}");
}

#[tokio::test]
async fn what_a_dead_endpoint_does_not_take_is_sent_by_the_next_process() {
    let (_kept, url) = nobody_listens();
    let directory = tempfile::tempdir().unwrap();
    let spool = directory.path().join("spool");
    let spool = ("PROBE_SPOOL", spool.to_str().unwrap());
    let seen = probe(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), spool]).await;
    assert_eq!(seen.answer["shutdown"], Value::Null, "nothing is lost");
    let (receiver, seen) = collected(&[spool]).await;
    assert_eq!(seen.answer["shutdown"], Value::Null);
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
async fn dropped_without_a_shutdown_it_still_sends_what_it_has() {
    let (receiver, _) = collected(&[("PROBE_END", "drop")]).await;
    audited(&receiver);
    assert!(!receiver.logs().is_empty() && !receiver.metrics().is_empty());
}

#[tokio::test]
async fn a_filter_for_logs_tears_no_trace() {
    let (receiver, seen) = collected(&[("RUST_LOG", "error")]).await;
    let span = audited(&receiver);
    assert_eq!(seen.answer["record"]["span_id"], hex(&span.span_id));
    let logs = receiver.logs();
    assert_eq!(
        logs.len(),
        2,
        "the panic and what it was answered with: {logs:#?}"
    );
    assert!(format!("{logs:?}").contains("telemetry_probe.rs"));
}

#[tokio::test]
async fn the_sampler_that_the_environment_names_decides() {
    let audited = "POST /v1/entries/{id}";
    for (sampler, argument, sampled) in [
        ("always_on", "", &[audited, "GET /v1/seen"][..]),
        ("always_off", "", &[]),
        // The caller of the one is sampled, and the other has none.
        ("parentbased_always_off", "", &[audited]),
        ("parentbased_traceidratio", " 0.0", &[audited]),
        ("traceidratio", "0", &[]),
    ] {
        let (receiver, seen) = collected(&[
            ("OTEL_TRACES_SAMPLER", sampler),
            ("OTEL_TRACES_SAMPLER_ARG", argument),
        ])
        .await;
        assert_eq!(seen.answer["shutdown"], Value::Null);
        // What the caller says of its trace goes on from whoever asks for a tracer.
        let flags = seen.answer["flags"].as_u64().unwrap();
        assert_eq!(flags & 2, 2, "{sampler}");
        let spans = receiver.spans();
        for name in [audited, "GET /v1/seen"] {
            let found = spans.iter().any(|span| span.name == name);
            assert_eq!(found, sampled.contains(&name), "{sampler}: {name}");
        }
        // The record has its trace all the same.
        assert_eq!(
            seen.answer["record"]["trace_id"].as_str().unwrap().len(),
            32
        );
    }
}

#[tokio::test]
async fn the_callers_trace_goes_on_only_in_a_format_that_is_spoken() {
    let callers = "0af7651916cd43dd8448eb211c80319c";
    for (propagators, continued) in [
        ("tracecontext,baggage", true),
        ("baggage", false),
        ("none", false),
    ] {
        let (receiver, _) = collected(&[("OTEL_PROPAGATORS", propagators)]).await;
        let trace = hex(&audited(&receiver).trace_id);
        assert_eq!(trace == callers, continued, "{propagators}");
    }
}

#[tokio::test]
async fn batches_and_limits_are_those_of_the_environment() {
    let (receiver, _) = collected(&[
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "1"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "3"),
        ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "0"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
    ])
    .await;
    let spans = receiver.spans();
    assert_eq!(receiver.exports("/v1/traces").len(), spans.len());
    let logs = receiver.logs();
    assert_eq!(receiver.exports("/v1/logs").len(), logs.len());
    let span = audited(&receiver);
    assert_eq!(span.attributes.len(), 3);
    assert!(span.dropped_attributes_count > 0);
    let inside = logs
        .iter()
        .find(|log| format!("{:?}", log.body).contains("inside the handler"))
        .unwrap();
    assert!(inside.attributes.is_empty(), "{inside:?}");
    for metric in receiver.metrics() {
        if let Some(Data::Histogram(histogram)) = &metric.data {
            assert_eq!(histogram.aggregation_temporality, 1, "{metric:?}");
        }
    }
}

#[tokio::test]
async fn metrics_are_sent_as_often_as_the_environment_says() {
    let (receiver, _) = collected(&[("OTEL_METRIC_EXPORT_INTERVAL", "1")]).await;
    // By default the last is the only one.
    assert!(receiver.exports("/v1/metrics").len() > 1);
}

#[tokio::test]
async fn metrics_are_shown_when_they_are_asked_for() {
    let seen = probe(&[("OTEL_METRICS_EXPORTER", "console")]).await;
    assert!(
        seen.stdout.contains("http.server.request.duration"),
        "{}",
        seen.stdout
    );
    assert_eq!(probe(&[]).await.stdout, "");
}

#[tokio::test]
async fn a_self_test_that_succeeds_says_so_in_one_line_and_where() {
    let (receiver, seen) = collected(&[
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("PROBE_SELF_TEST", "1"),
    ])
    .await;
    assert_eq!(seen.answer["self_test"], Value::Null);
    let url = receiver.url();
    let line = format!(
        "telemetry arrives: traces at {url}/v1/traces, metrics at {url}/v1/metrics, logs at {url}/v1/logs"
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
