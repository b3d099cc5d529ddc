use super::{Axiom, Chosen, Destination, Destinations, Endpoint, Signal};
use crate::Error;

fn resolve(variables: &[(&str, &str)]) -> Result<Destinations, Error> {
    let environment = |name: &str| {
        variables
            .iter()
            .find(|(variable, _)| *variable == name)
            .map(|(_, value)| (*value).to_owned())
    };
    Destinations::resolve("accounting", &Chosen::ByEnvironment, &environment)
}

fn endpoint(destination: &Destination) -> &Endpoint {
    match destination {
        Destination::Otlp(endpoint) => endpoint,
        other => panic!("no endpoint: {other:?}"),
    }
}

#[test]
fn nothing_configured_is_the_console() {
    let all = resolve(&[("AXIOM_TOKEN", ""), ("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).unwrap();
    assert_eq!(
        [all.traces, all.metrics, all.logs],
        [
            Destination::Console,
            Destination::Console,
            Destination::Console
        ]
    );
}

#[test]
fn axiom_gets_its_edge_its_token_and_a_dataset_per_signal() {
    let all = resolve(&[
        ("AXIOM_TOKEN", "xaat-secret"),
        ("AXIOM_EDGE", "eu-central-1.aws.edge.axiom.co"),
        ("AXIOM_LOGS_DATASET", "all-logs"),
        ("AXIOM_URL", "https://api.axiom.co"),
    ])
    .unwrap();
    let traces = endpoint(&all.traces);
    assert_eq!(
        traces.url,
        "https://eu-central-1.aws.edge.axiom.co/v1/traces"
    );
    assert_eq!(traces.headers["authorization"], "Bearer xaat-secret");
    assert_eq!(traces.headers["x-axiom-dataset"], "accounting-traces");
    assert!(traces.gzip);
    let metrics = endpoint(&all.metrics);
    assert_eq!(
        metrics.headers["x-axiom-metrics-dataset"],
        "accounting-metrics"
    );
    assert!(!metrics.headers.contains_key("x-axiom-dataset"));
    assert_eq!(endpoint(&all.logs).headers["x-axiom-dataset"], "all-logs");
}

#[test]
fn a_collector_gets_each_signals_path() {
    let all = resolve(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://logs:9/take"),
    ])
    .unwrap();
    assert_eq!(endpoint(&all.traces).url, "http://collector:4318/v1/traces");
    assert_eq!(
        endpoint(&all.metrics).url,
        "http://collector:4318/v1/metrics"
    );
    assert_eq!(endpoint(&all.logs).url, "http://logs:9/take");
}

#[test]
fn a_signal_can_be_sent_elsewhere_or_nowhere() {
    let all = resolve(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_LOGS_EXPORTER", "console"),
    ])
    .unwrap();
    assert_eq!(all.traces, Destination::Nowhere);
    assert_eq!(all.logs, Destination::Console);
    assert_eq!(
        endpoint(&all.metrics).url,
        "http://collector:4318/v1/metrics"
    );
    let all = resolve(&[("OTEL_TRACES_EXPORTER", "otlp")]).unwrap();
    assert_eq!(endpoint(&all.traces).url, "http://localhost:4318/v1/traces");
    let all = resolve(&[("OTEL_SDK_DISABLED", "true"), ("AXIOM_TOKEN", "xaat-1")]).unwrap();
    assert_eq!(all.metrics, Destination::Nowhere);
}

#[test]
fn a_bad_value_is_named_with_its_remedy_and_without_secrets() {
    for (variable, value, says) in [
        ("AXIOM_TOKEN", "xapt-sensitive", "personal token"),
        ("AXIOM_TOKEN", "xaat sensitive", "spaces"),
        ("OTEL_SDK_DISABLED", "yes", "neither true nor false"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "`zipkin`"),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "collector:4318 sensitive",
            "http://HOST:PORT",
        ),
        (
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
            "ftp://sensitive",
            "http://HOST:PORT",
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"),
        ("OTEL_PROPAGATORS", "b3", "`b3`"),
    ] {
        let error = resolve(&[(variable, value)]).unwrap_err().to_string();
        assert!(error.contains(variable), "{error}");
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("sensitive"), "{error}");
    }
    let error = resolve(&[
        ("AXIOM_TOKEN", "xaat-1"),
        ("AXIOM_METRICS_DATASET", "two words"),
    ])
    .unwrap_err();
    assert!(
        error.to_string().contains("AXIOM_METRICS_DATASET"),
        "{error}"
    );
}

#[test]
fn the_token_is_in_no_debug_output() {
    let axiom = Axiom::new("accounting", "xaat-secret")
        .unwrap()
        .with_dataset(Signal::Logs, "logs");
    assert!(!format!("{axiom:?}").contains("secret"));
    let all = resolve(&[("AXIOM_TOKEN", "xaat-secret")]).unwrap();
    assert!(!format!("{all:?}").contains("secret"));
}
