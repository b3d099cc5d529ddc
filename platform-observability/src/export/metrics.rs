//! The books as metrics, by OpenTelemetry's conventions for SDKs (`otel.sdk.*`).

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use super::Ledgers;
use super::status::{Ledger, SignalStatus};

const COMPONENT_TYPE: &str = "otel.component.type";
const ERROR_TYPE: &str = "error.type";

pub(super) fn observe(meter: &Meter, ledgers: &Ledgers) {
    for (item, signal, unit, ledger) in [
        ("span", "span", "{span}", &ledgers.traces),
        ("log", "log", "{log_record}", &ledgers.logs),
        (
            "metric_data_point",
            "metric",
            "{data_point}",
            &ledgers.metrics,
        ),
    ] {
        let exporter = format!("otlp_http_{signal}_exporter");
        counter(
            meter,
            format!("otel.sdk.exporter.{item}.exported"),
            unit,
            ledger,
            move |status, add| {
                let component = || KeyValue::new(COMPONENT_TYPE, exporter.clone());
                add(status.exported, &[component()]);
                add(
                    status.rejected,
                    &[component(), KeyValue::new(ERROR_TYPE, "rejected")],
                );
                add(
                    status.dropped_failed,
                    &[component(), KeyValue::new(ERROR_TYPE, "_OTHER")],
                );
            },
        );
        if signal == "metric" {
            continue;
        }
        let processor = format!("batching_{signal}_processor");
        counter(
            meter,
            format!("otel.sdk.processor.{item}.processed"),
            unit,
            ledger,
            move |status, add| {
                let component = || KeyValue::new(COMPONENT_TYPE, processor.clone());
                let passed = status.exported + status.rejected + status.dropped_failed;
                add(passed, &[component()]);
                add(
                    status.dropped_queue_full,
                    &[component(), KeyValue::new(ERROR_TYPE, "queue_full")],
                );
            },
        );
    }
}

fn counter(
    meter: &Meter,
    name: String,
    unit: &'static str,
    ledger: &Arc<Ledger>,
    tell: impl Fn(&SignalStatus, &dyn Fn(u64, &[KeyValue])) + Send + Sync + 'static,
) {
    let ledger = Arc::clone(ledger);
    meter
        .u64_observable_counter(name)
        .with_unit(unit)
        .with_callback(move |observer| {
            tell(&ledger.status(), &|count, attributes| {
                // A series of zeros has its price, too.
                if count > 0 {
                    observer.observe(count, attributes);
                }
            });
        })
        .build();
}

/// The books of exporters to which everything has happened.
#[cfg(test)]
pub(crate) fn observe_everything(meter: &Meter) {
    let ledgers = Ledgers::default();
    for ledger in [&ledgers.traces, &ledgers.metrics, &ledgers.logs] {
        for (refused, exported) in [(0, true), (1, true), (0, false)] {
            ledger.admit(1);
            ledger.taken(1);
            ledger.began(1);
            ledger.refused(refused);
            ledger.ended(1, exported);
        }
        ledger.admit(0);
    }
    observe(meter, &ledgers);
}

#[cfg(test)]
mod tests {
    use crate::testing::Capture;

    #[test]
    fn units_are_those_of_the_conventions() {
        let capture = Capture::start();
        super::observe_everything(&capture.meter());
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
