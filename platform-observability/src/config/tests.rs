use std::ffi::OsString;

use http::HeaderValue;
use opentelemetry_otlp::Compression;

use super::{
    Axiom, BatchConfig, Config, Endpoint, Env, Exporter, ExporterChoice, Limits, resource,
};
use crate::error::Error;
use crate::signal::Signal;

/// Calls `then` with an environment in which only the variables of `set` exist.
fn with<T>(set: &[(&str, &str)], then: impl FnOnce(Env<'_>) -> T) -> T {
    let lookup = |name: &str| {
        let found = set.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| OsString::from(value))
    };
    then(Env(&lookup))
}

fn resolve(set: &[(&str, &str)]) -> Result<Config, Error> {
    resolve_choice(&ExporterChoice::FromEnvironment, set)
}

fn resolve_choice(choice: &ExporterChoice, set: &[(&str, &str)]) -> Result<Config, Error> {
    with(set, |env| {
        Config::resolve("accounting", choice, Limits::default(), env)
    })
}

fn endpoint(exporter: &Exporter) -> &Endpoint {
    match exporter {
        Exporter::Otlp(endpoint) => endpoint,
        other => panic!("not an endpoint: {other:?}"),
    }
}

fn header<'a>(endpoint: &'a Endpoint, name: &str) -> Option<&'a str> {
    let found = endpoint.headers.iter().find(|(header, _)| header == name);
    found.map(|(_, value)| HeaderValue::to_str(value).unwrap())
}

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
fn the_environment_overrides_the_resource_attributes_set_in_code() {
    let set = [
        ("OTEL_SERVICE_NAME", "billing"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.version=2, team=a%2Cb"),
    ];
    let attributes = [("service.version", Some("1".to_owned())), ("absent", None)];
    let (name, resource) =
        with(&set, |env| super::resource("accounting", attributes, env)).unwrap();
    let value = |key: &'static str| resource.get(&key.into()).map(|value| value.to_string());
    assert_eq!(name, "billing");
    assert_eq!(value("service.name").as_deref(), Some("billing"));
    assert_eq!(value("service.version").as_deref(), Some("2"));
    assert_eq!(value("team").as_deref(), Some("a,b"));
    assert_eq!(value("telemetry.sdk.language").as_deref(), Some("rust"));
    assert_eq!(value("absent"), None);
}

#[test]
fn malformed_resource_attributes_and_a_missing_name_are_errors() {
    let set = [("OTEL_RESOURCE_ATTRIBUTES", "team")];
    let error = with(&set, |env| resource("accounting", [], env)).unwrap_err();
    assert!(
        error.to_string().contains("OTEL_RESOURCE_ATTRIBUTES"),
        "{error}"
    );
    let error = with(&[], |env| resource(" ", [], env)).unwrap_err();
    assert!(error.to_string().contains("OTEL_SERVICE_NAME"), "{error}");
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
fn the_environment_overrides_the_limits_set_in_code() {
    let limits = |set: &[(&str, &str)]| {
        let coded = Limits::default()
            .attributes(7)
            .span_links(3)
            .attribute_value_length(50);
        with(set, |env| coded.or_environment(env))
    };
    let coded = limits(&[]).unwrap();
    assert_eq!(coded.spans.max_attributes_per_span, 7);
    assert_eq!(coded.spans.max_links_per_span, 3);
    assert_eq!(coded.spans.max_events_per_span, 128);
    assert_eq!(
        (coded.span_value_length, coded.log_value_length),
        (Some(50), Some(50))
    );
    let overridden = limits(&[
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "20"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "21"),
        ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "22"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "23"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "24"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "25"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "26"),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "27"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "28"),
    ])
    .unwrap();
    assert_eq!(overridden.spans.max_attributes_per_span, 21);
    assert_eq!(overridden.log_attributes, 22);
    assert_eq!(
        (overridden.span_value_length, overridden.log_value_length),
        (Some(24), Some(23))
    );
    assert_eq!(overridden.spans.max_events_per_span, 25);
    assert_eq!(overridden.spans.max_links_per_span, 26);
    assert_eq!(overridden.spans.max_attributes_per_event, 27);
    assert_eq!(overridden.spans.max_attributes_per_link, 28);
    for wrong in ["-1", "many", "1.5"] {
        let variable = "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT";
        let error = limits(&[(variable, wrong)]).unwrap_err().to_string();
        assert!(
            error.starts_with(variable) && error.contains(wrong),
            "{error}"
        );
    }
}

#[test]
fn batch_sizes_and_intervals_default_to_the_specification() {
    use opentelemetry_sdk::metrics::Temporality;
    use std::time::Duration;

    let batches = |queue, batch, milliseconds| BatchConfig {
        max_queue_size: queue,
        max_export_batch_size: batch,
        schedule_delay: Duration::from_millis(milliseconds),
    };
    let all = resolve(&[]).unwrap();
    assert_eq!(all.span_batches, batches(2048, 512, 5000));
    assert_eq!(all.log_batches, batches(2048, 512, 1000));
    assert_eq!(all.metric_interval, Duration::from_secs(60));
    assert_eq!(all.temporality, Temporality::Cumulative);
    let all = resolve(&[
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "7"),
        ("OTEL_BSP_SCHEDULE_DELAY", " 20 "),
        ("OTEL_METRIC_EXPORT_INTERVAL", "30"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Delta"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
            "explicit_bucket_histogram",
        ),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "3000"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "40"),
    ])
    .unwrap();
    assert_eq!(
        all.span_batches,
        batches(100, 100, 20),
        "no larger than the queue"
    );
    assert_eq!(all.log_batches, batches(3000, 7, 40));
    assert_eq!(all.metric_interval, Duration::from_millis(30));
    assert_eq!(all.temporality, Temporality::Delta);
    let timed = resolve(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "70"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "80"),
        ("OTEL_BLRP_EXPORT_TIMEOUT", "30000"),
    ])
    .unwrap();
    let timeout = |exporter| endpoint(exporter).timeout.as_millis();
    assert_eq!(timeout(&timed.exporters.traces), 70);
    assert_eq!(timeout(&timed.exporters.metrics), 80);
    assert_eq!(
        timeout(&timed.exporters.logs),
        10_000,
        "the exporter's own timeout is shorter"
    );
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

#[test]
fn the_sampler_is_set_by_the_environment() {
    let sampler = |set: &[(&str, &str)]| {
        let all = resolve(set).unwrap();
        let parent_based = all.sampling.parent_based;
        (
            format!("{:?}", all.sampler),
            parent_based,
            all.sampling.samples_all_roots,
        )
    };
    let expected = |text: &str, parent_based, all_roots| (text.to_owned(), parent_based, all_roots);
    let default = expected("ParentBased(AlwaysOn)", true, true);
    assert_eq!(sampler(&[]), default);
    let variable = "OTEL_TRACES_SAMPLER";
    assert_eq!(sampler(&[(variable, "parentbased_always_on")]), default);
    assert_eq!(
        sampler(&[(variable, "always_off")]),
        expected("AlwaysOff", false, false)
    );
    let ratio = ("OTEL_TRACES_SAMPLER_ARG", " 0.1");
    assert_eq!(
        sampler(&[(variable, "parentbased_traceidratio"), ratio]),
        expected("ParentBased(TraceIdRatioBased(0.1))", true, false)
    );
    assert_eq!(
        sampler(&[(variable, "traceidratio")]),
        expected("TraceIdRatioBased(1.0)", false, false)
    );
    for wrong in ["1.1", "NaN", "half"] {
        let set = [
            (variable, "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", wrong),
        ];
        let error = resolve(&set).unwrap_err().to_string();
        assert!(
            error.starts_with("OTEL_TRACES_SAMPLER_ARG") && error.contains(wrong),
            "{error}"
        );
    }
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
