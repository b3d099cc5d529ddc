//! Errors name the variable and never a secret.

use super::super::{Axiom, ExporterChoice};
use super::{resolve, resolve_choice};
use crate::signal::Signal;

#[test]
fn an_error_names_the_variable_and_the_remedy_but_no_secret() {
    const TOKEN: (&str, &str) = ("AXIOM_TOKEN", "xaat-1");
    const COLLECTOR: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
    for (base, variable, value, expected) in [
        (None, "AXIOM_TOKEN", "xapt-sensitive", "personal token"),
        (None, "AXIOM_TOKEN", "xaat sensitive", "API token (xaat-"),
        (
            Some(TOKEN),
            "AXIOM_EDGE_URL",
            "http://sensitive",
            "unencrypted",
        ),
        (Some(TOKEN), "AXIOM_EDGE_URL", "sensitive", "https://HOST"),
        (
            Some(TOKEN),
            "AXIOM_METRICS_DATASET",
            "two sensitive",
            "without spaces",
        ),
        (None, "OTEL_SDK_DISABLED", "yes", "neither true nor false"),
        (None, "OTEL_TRACES_EXPORTER", "zipkin", "`zipkin`"),
        (None, "OTEL_PROPAGATORS", "b3", "`b3`"),
        (
            None,
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "collector:4318 sensitive",
            "http://HOST:PORT",
        ),
        (
            None,
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://a:sensitive@b",
            "headers",
        ),
        (
            None,
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "https://b/otlp?key=sensitive",
            "query",
        ),
        (
            Some(TOKEN),
            "AXIOM_EDGE_URL",
            "https://b/#sensitive",
            "query",
        ),
        (
            None,
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
            "ftp://sensitive",
            "http://HOST:PORT",
        ),
        (
            Some(COLLECTOR),
            "OTEL_EXPORTER_OTLP_HEADERS",
            "sensitive",
            "name=value",
        ),
        (
            Some(COLLECTOR),
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "http/protobuf",
        ),
        (
            Some(COLLECTOR),
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "10s",
            "milliseconds",
        ),
        (
            Some(COLLECTOR),
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "lz4",
            "gzip",
        ),
    ] {
        let set: Vec<_> = base.into_iter().chain([(variable, value)]).collect();
        let error = resolve(&set).expect_err(variable).to_string();
        assert!(error.contains(variable), "{error}");
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("sensitive"), "{error}");
    }
}

#[test]
fn no_debug_output_contains_the_token() {
    let axiom = Axiom::new("xaat-secret")
        .edge_url("https://a:secret@b")
        .dataset(Signal::Logs, "x");
    assert!(!format!("{axiom:?}").contains("secret"));
    let otlp = ExporterChoice::Otlp("https://a:secret@b?key=secret".to_owned());
    assert!(!format!("{otlp:?}").contains("secret"));
    assert!(resolve_choice(&otlp, &[]).is_err());
    let all = resolve(&[("AXIOM_TOKEN", "xaat-secret")]).unwrap();
    assert!(!format!("{all:?}").contains("secret"));
    let error = resolve_choice(&ExporterChoice::Axiom(Axiom::new("xapt-secret")), &[]).unwrap_err();
    assert!(!format!("{error:?} {error}").contains("secret"));
}

#[test]
fn an_invalid_value_is_an_error_that_names_the_variable_and_the_value() {
    for (variable, wrong) in [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "many"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2049"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "-1"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "1e3"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "0"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "0"),
        ("OTEL_BLRP_EXPORT_TIMEOUT", "x"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1 min"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "3600001"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "none"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
            "base2_exponential_bucket_histogram",
        ),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "GET,PO ST"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/no/such/key"),
    ] {
        let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector");
        let error = resolve(&[collector, (variable, wrong)]).unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with(variable) && error.contains(wrong.split(' ').next().unwrap()),
            "{error}"
        );
    }
}
