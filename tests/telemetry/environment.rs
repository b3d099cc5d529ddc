//! The settings of a service's environment, as its receiver sees them.

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use platform_harness::otlp::text;
use serde_json::Value;

use super::otlp::{audited, collected, hex, probe};

#[tokio::test]
async fn the_environment_configures_a_collector() {
    let (receiver, seen) = collected(&[
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=clinic-7"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=ledger"),
        ("OTEL_SERVICE_NAME", "renamed"),
    ])
    .await;
    assert_eq!(seen.report["shutdown"], Value::Null);
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
async fn without_configuration_the_console_shows_the_requests() {
    let seen = probe(&[]).await;
    assert_eq!(seen.report["shutdown"], Value::Null);
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
    // Records contain the trace nevertheless.
    assert_eq!(
        seen.report["record"]["trace_id"],
        "0af7651916cd43dd8448eb211c80319c"
    );
}

#[tokio::test]
async fn a_disabled_sdk_exports_nothing() {
    let (receiver, seen) = collected(&[("OTEL_SDK_DISABLED", "true")]).await;
    assert_eq!(seen.report["status"], 201);
    assert!(
        receiver.spans().is_empty() && receiver.logs().is_empty() && receiver.metrics().is_empty()
    );
}

#[tokio::test]
async fn an_invalid_variable_and_a_second_start_are_errors() {
    let seen = probe(&[("AXIOM_TOKEN", "xapt-personal")]).await;
    let error = seen.report["init"].as_str().unwrap();
    assert!(
        error.contains("AXIOM_TOKEN") && error.contains("API token"),
        "{error}"
    );
    assert!(!error.contains("xapt-personal"), "{error}");
    let seen = probe(&[("OTEL_TRACES_EXPORTER", "none")]).await;
    assert!(
        seen.report["second"]
            .as_str()
            .unwrap()
            .contains("already set up"),
        "{}",
        seen.report
    );
}

/// The settings and metrics of `Telemetry`, which have their own tests in its crate.
#[tokio::test]
async fn resource_metrics_log_filter_and_limits_reach_the_receiver() {
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
    // The last span may end after the client has received its response.
    let reported = seen.report["spans"].as_u64().unwrap();
    let arrived = u64::try_from(receiver.spans().len()).unwrap();
    assert!((1..=arrived).contains(&reported), "{reported} of {arrived}");
}

#[tokio::test]
async fn a_log_filter_drops_no_span() {
    let (receiver, seen) = collected(&[("RUST_LOG", "error")]).await;
    let span = audited(&receiver);
    assert_eq!(seen.report["record"]["span_id"], hex(&span.span_id));
    let logs = receiver.logs();
    assert_eq!(
        logs.len(),
        2,
        "the panic, and the response to it: {logs:#?}"
    );
    assert!(format!("{logs:?}").contains("telemetry_probe.rs"));
}

#[tokio::test]
async fn the_sampler_that_the_environment_names_decides() {
    let audited = "POST /v1/entries/{id}";
    for (sampler, argument, sampled) in [
        ("always_on", "", &[audited, "GET /v1/seen"][..]),
        ("always_off", "", &[]),
        // The first request has a sampled caller, and the second has none.
        ("parentbased_always_off", "", &[audited]),
        ("parentbased_traceidratio", " 0.0", &[audited]),
        ("traceidratio", "0", &[]),
    ] {
        let (receiver, seen) = collected(&[
            ("OTEL_TRACES_SAMPLER", sampler),
            ("OTEL_TRACES_SAMPLER_ARG", argument),
        ])
        .await;
        assert_eq!(seen.report["shutdown"], Value::Null);
        // The caller's flag `random` is also propagated to spans of other libraries.
        let flags = seen.report["flags"].as_u64().unwrap();
        assert_eq!(flags & 2, 2, "{sampler}");
        let spans = receiver.spans();
        for name in [audited, "GET /v1/seen"] {
            let found = spans.iter().any(|span| span.name == name);
            assert_eq!(found, sampled.contains(&name), "{sampler}: {name}");
        }
        // The record contains the trace nevertheless.
        assert_eq!(
            seen.report["record"]["trace_id"].as_str().unwrap().len(),
            32
        );
    }
}

#[tokio::test]
async fn the_callers_trace_is_continued_only_in_a_configured_format() {
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
async fn the_environment_sets_batch_sizes_and_limits() {
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
async fn the_environment_sets_the_export_interval_of_metrics() {
    let (receiver, _) = collected(&[("OTEL_METRIC_EXPORT_INTERVAL", "1")]).await;
    // With the default interval, there is only the export at shutdown.
    assert!(receiver.exports("/v1/metrics").len() > 1);
}

#[tokio::test]
async fn the_console_exporter_prints_metrics() {
    let seen = probe(&[("OTEL_METRICS_EXPORTER", "console")]).await;
    assert!(
        seen.stdout.contains("http.server.request.duration"),
        "{}",
        seen.stdout
    );
    assert_eq!(probe(&[]).await.stdout, "");
}
