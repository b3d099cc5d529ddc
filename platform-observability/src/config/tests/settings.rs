//! The resource, limits, batches and sampler.

use super::super::{BatchConfig, Limits, resource};
use super::{endpoint, resolve, with};

#[test]
fn the_environment_overrides_the_resource_attributes_set_in_code() {
    let set = [
        ("OTEL_SERVICE_NAME", "billing"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.version=2, team=a%2Cb"),
    ];
    let attributes = [("service.version", Some("1".to_owned())), ("absent", None)];
    let (name, resource) = with(&set, |env| resource("accounting", attributes, env)).unwrap();
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
