//! The exporters and their endpoints.

use opentelemetry_otlp::Compression;

use super::super::{Axiom, Exporter, ExporterChoice};
use super::{endpoint, header, resolve, resolve_choice};

#[test]
fn without_configuration_requests_and_logs_go_to_the_console_but_no_metrics() {
    let all = resolve(&[("AXIOM_TOKEN", ""), ("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).unwrap();
    assert_eq!(
        [
            all.exporters.traces,
            all.exporters.metrics,
            all.exporters.logs
        ],
        [Exporter::Console, Exporter::None, Exporter::Console]
    );
    let all = resolve(&[("OTEL_METRICS_EXPORTER", "console")]).unwrap();
    assert_eq!(all.exporters.metrics, Exporter::Console);
    let all = resolve(&[("OTEL_METRICS_EXPORTER", "otlp")]).unwrap();
    assert_eq!(
        endpoint(&all.exporters.metrics).url,
        "http://localhost:4318/v1/metrics"
    );
}

#[test]
fn axiom_receives_the_token_at_its_edge_and_one_dataset_per_signal() {
    let all = resolve(&[
        ("AXIOM_TOKEN", "xaat-secret\n"),
        ("AXIOM_LOGS_DATASET", "all-logs"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://unused"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=another"),
    ])
    .unwrap();
    let traces = endpoint(&all.exporters.traces);
    assert_eq!(traces.url, "https://us-east-1.aws.edge.axiom.co/v1/traces");
    assert_eq!(header(traces, "authorization"), Some("Bearer xaat-secret"));
    assert_eq!(header(traces, "x-axiom-dataset"), Some("accounting-traces"));
    assert_eq!(header(traces, "x-axiom-metrics-dataset"), None);
    assert_eq!(traces.compression, Some(Compression::Gzip));
    let metrics = endpoint(&all.exporters.metrics);
    assert_eq!(
        header(metrics, "x-axiom-metrics-dataset"),
        Some("accounting-metrics")
    );
    assert_eq!(header(metrics, "x-axiom-dataset"), None);
    assert_eq!(
        header(endpoint(&all.exporters.logs), "x-axiom-dataset"),
        Some("all-logs")
    );
}

#[test]
fn axioms_edge_is_set_by_region_host_or_url() {
    for (variable, value, url) in [
        (
            "AXIOM_EDGE",
            "eu-central-1",
            "https://eu-central-1.aws.edge.axiom.co/v1/logs",
        ),
        ("AXIOM_EDGE", "edge.example", "https://edge.example/v1/logs"),
        (
            "AXIOM_EDGE_URL",
            "https://edge.example/a/",
            "https://edge.example/a/v1/logs",
        ),
        (
            "AXIOM_EDGE_URL",
            "http://127.0.0.1:9",
            "http://127.0.0.1:9/v1/logs",
        ),
        ("AXIOM_EDGE_URL", "http://[::1]:9", "http://[::1]:9/v1/logs"),
    ] {
        let all = resolve(&[("AXIOM_TOKEN", "xaat-1"), (variable, value)]).unwrap();
        assert_eq!(endpoint(&all.exporters.logs).url, url);
    }
}

#[test]
fn a_collector_receives_each_signals_path_headers_compression_and_timeout() {
    let all = resolve(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://logs:9/ingest"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-one=1, x-two=a%20b,"),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "x-log=1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
    ])
    .unwrap();
    let (traces, logs) = (
        endpoint(&all.exporters.traces),
        endpoint(&all.exporters.logs),
    );
    assert_eq!(traces.url, "http://collector:4318/v1/traces");
    assert_eq!(
        endpoint(&all.exporters.metrics).url,
        "http://collector:4318/v1/metrics"
    );
    assert_eq!(logs.url, "http://logs:9/ingest");
    assert_eq!(header(traces, "x-one"), Some("1"));
    assert_eq!(header(traces, "x-two"), Some("a b"));
    assert_eq!(
        (header(logs, "x-one"), header(logs, "x-log")),
        (None, Some("1"))
    );
    assert_eq!(traces.compression, Some(Compression::Gzip));
    assert_eq!(logs.compression, None);
    assert_eq!(traces.timeout.as_millis(), 1500);
}

#[test]
fn each_signal_can_have_another_exporter_or_none() {
    let all = resolve(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_LOGS_EXPORTER", "console"),
    ])
    .unwrap();
    assert_eq!(all.exporters.traces, Exporter::None);
    assert_eq!(all.exporters.logs, Exporter::Console);
    assert_eq!(
        endpoint(&all.exporters.metrics).url,
        "http://collector:4318/v1/metrics"
    );
    let all = resolve(&[("OTEL_TRACES_EXPORTER", "otlp")]).unwrap();
    assert_eq!(
        endpoint(&all.exporters.traces).url,
        "http://localhost:4318/v1/traces"
    );
    assert_eq!(all.exporters.logs, Exporter::Console);
}

#[test]
fn a_disabled_sdk_exports_nothing() {
    let all = resolve(&[("OTEL_SDK_DISABLED", "TRUE"), ("AXIOM_TOKEN", "xaat-1")]).unwrap();
    assert!(all.disabled);
    assert_eq!(all.exporters.metrics, Exporter::None);
}

#[test]
fn an_exporter_set_in_code_overrides_the_environment() {
    let axiom = [("AXIOM_TOKEN", "xaat-1")];
    let all = resolve_choice(
        &ExporterChoice::Otlp("http://collector:4318".into()),
        &axiom,
    )
    .unwrap();
    assert_eq!(
        endpoint(&all.exporters.traces).url,
        "http://collector:4318/v1/traces"
    );
    assert_eq!(
        resolve_choice(&ExporterChoice::Console, &axiom)
            .unwrap()
            .exporters
            .logs,
        Exporter::Console
    );
    let choice = ExporterChoice::Axiom(Axiom::new("xaat-2").edge("eu-central-1"));
    let all = resolve_choice(&choice, &axiom).unwrap();
    assert_eq!(
        header(endpoint(&all.exporters.logs), "authorization"),
        Some("Bearer xaat-2")
    );
}

#[test]
fn axiom_url_selects_a_proxy_but_no_api_host_outside_the_default_region() {
    let url = |set: &[(&str, &str)]| {
        let token = ("AXIOM_TOKEN", "xaat-secret");
        resolve(&[&[token], set].concat()).map(|all| endpoint(&all.exporters.logs).url.clone())
    };
    let default = "https://us-east-1.aws.edge.axiom.co/v1/logs";
    for (set, expected) in [
        (&[("AXIOM_URL", "https://api.axiom.co")][..], default),
        (
            &[("AXIOM_URL", "https://proxy.internal/axiom/")],
            "https://proxy.internal/axiom/v1/logs",
        ),
        (
            &[
                ("AXIOM_URL", "https://proxy.internal"),
                ("AXIOM_EDGE", "us-east-1"),
            ],
            default,
        ),
    ] {
        assert_eq!(url(set).unwrap(), expected, "{set:?}");
    }
    // Data must not leave its region.
    for wrong in [
        "https://api.eu.axiom.co",
        "proxy.internal",
        "http://proxy.internal",
    ] {
        let error = url(&[("AXIOM_URL", wrong)]).unwrap_err().to_string();
        assert!(error.starts_with("AXIOM_URL "), "{error}");
    }
    let set = [
        ("AXIOM_URL", "https://api.eu.axiom.co"),
        ("AXIOM_EDGE", "eu-central-1"),
    ];
    let expected = "https://eu-central-1.aws.edge.axiom.co/v1/logs";
    assert_eq!(url(&set).unwrap(), expected);
}

#[test]
fn compression_is_set_by_the_environment_for_axiom_and_collectors() {
    let compression =
        |set: &[(&str, &str)]| resolve(set).map(|all| endpoint(&all.exporters.traces).compression);
    let axiom = ("AXIOM_TOKEN", "xaat-secret");
    let zstd = ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd");
    let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector");
    for set in [[axiom, zstd], [collector, zstd]] {
        let resolved = compression(&set).map_err(|error| error.to_string());
        if cfg!(feature = "zstd") {
            assert_eq!(resolved, Ok(Some(Compression::Zstd)));
        } else {
            let error = resolved.unwrap_err();
            assert!(error.contains("feature `zstd`"), "{error}");
        }
    }
    let none = ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none");
    assert_eq!(compression(&[axiom, none]).unwrap(), None);
}

#[test]
fn certificates_are_read_from_pem_files_and_a_client_certificate_needs_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, kind: &str| {
        let path = directory.path().join(name);
        let pem = format!("-----BEGIN {kind}-----\nAA==\n-----END {kind}-----\n");
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let certificate = file("certificate", "CERTIFICATE");
    let key = file("key", "PRIVATE KEY");
    let with = |set: &[(&str, &str)]| {
        let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector");
        resolve(&[&[collector], set].concat())
    };
    let all = with(&[
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", &certificate),
        ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE", &certificate),
        ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY", &key),
    ])
    .unwrap();
    let pem = |path: &str| std::fs::read(path).unwrap();
    let (traces, logs) = (
        &endpoint(&all.exporters.traces).tls,
        &endpoint(&all.exporters.logs).tls,
    );
    assert_eq!(traces.authorities, Some(pem(&certificate)));
    assert_eq!(traces.identity, None);
    let client = [&pem(&certificate)[..], b"\n", &pem(&key)].concat();
    assert_eq!(logs.identity, Some(client));

    let error = |set: &[(&str, &str)]| with(set).unwrap_err().to_string();
    let alone = error(&[("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key)]);
    assert!(alone.contains("its certificate is not"), "{alone}");
    let alone = error(&[("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &certificate)]);
    assert!(alone.contains("its key is not"), "{alone}");
    let wrong = error(&[("OTEL_EXPORTER_OTLP_CERTIFICATE", &key)]);
    assert!(wrong.contains("contains no certificate"), "{wrong}");
    let debug = format!("{:?}", endpoint(&all.exporters.logs));
    assert!(!debug.contains("PRIVATE"), "{debug}");
}
