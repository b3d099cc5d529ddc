//! The export statistics as metrics, by OpenTelemetry's conventions for SDKs (`otel.sdk.*`).

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use opentelemetry_semantic_conventions::attribute as attr;

use super::stats::ExportStats;
use super::status::SignalStatus;
use crate::signal::{PerSignal, Signal};

pub(super) fn observe(meter: &Meter, stats: &PerSignal<Arc<ExportStats>>) {
    for (signal, stats) in stats.iter() {
        let (item, component, unit) = match signal {
            Signal::Traces => ("span", "span", "{span}"),
            Signal::Metrics => ("metric_data_point", "metric", "{data_point}"),
            Signal::Logs => ("log", "log", "{log_record}"),
        };
        let exporter = format!("otlp_http_{component}_exporter");
        let name = format!("otel.sdk.exporter.{item}.exported");
        counter(meter, name, unit, stats, move |status, observe| {
            let component = KeyValue::new(attr::OTEL_COMPONENT_TYPE, exporter.clone());
            let error = |error| [component.clone(), KeyValue::new(attr::ERROR_TYPE, error)];
            observe(status.exported, std::slice::from_ref(&component));
            observe(status.rejected, &error("rejected"));
            observe(status.dropped_failed, &error("_OTHER"));
        });
        if signal == Signal::Metrics {
            // Metrics have no processor.
            continue;
        }
        let processor = format!("batching_{component}_processor");
        let name = format!("otel.sdk.processor.{item}.processed");
        counter(meter, name, unit, stats, move |status, observe| {
            let component = KeyValue::new(attr::OTEL_COMPONENT_TYPE, processor.clone());
            let passed_on = status.exported + status.rejected + status.dropped_failed;
            observe(passed_on, std::slice::from_ref(&component));
            let error = KeyValue::new(attr::ERROR_TYPE, "queue_full");
            observe(status.dropped_queue_full, &[component, error]);
        });
    }
}

fn counter(
    meter: &Meter,
    name: String,
    unit: &'static str,
    stats: &Arc<ExportStats>,
    read: impl Fn(&SignalStatus, &dyn Fn(u64, &[KeyValue])) + Send + Sync + 'static,
) {
    let stats = Arc::clone(stats);
    meter
        .u64_observable_counter(name)
        .with_unit(unit)
        .with_callback(move |observer| {
            read(&stats.status(), &|count, attributes| {
                // Each observed series is exported, even if it is 0.
                if count > 0 {
                    observer.observe(count, attributes);
                }
            });
        })
        .build();
}

/// Observes statistics in which every outcome has occurred.
#[cfg(test)]
pub(crate) fn observe_every_outcome(meter: &Meter) {
    let all = PerSignal::<Arc<ExportStats>>::default();
    for (_, stats) in all.iter() {
        for _ in 0..3 {
            assert!(stats.try_enqueue(1));
            stats.dequeued(1);
        }
        stats.exported(1, 0);
        stats.exported(1, 1);
        stats.failed(1);
        assert!(!stats.try_enqueue(0));
    }
    observe(meter, &all);
}

#[cfg(test)]
mod tests {
    use crate::testing::Capture;

    #[test]
    fn the_units_are_those_of_the_conventions() {
        let capture = Capture::start();
        super::observe_every_outcome(&capture.meter());
        for (instrument, unit) in [
            ("otel.sdk.exporter.span.exported", "{span}"),
            ("otel.sdk.processor.span.processed", "{span}"),
            ("otel.sdk.exporter.log.exported", "{log_record}"),
            ("otel.sdk.processor.log.processed", "{log_record}"),
            (
                "otel.sdk.exporter.metric_data_point.exported",
                "{data_point}",
            ),
        ] {
            for point in capture.points(instrument) {
                assert_eq!(point.unit, unit, "{instrument}");
            }
        }
    }
}
