//! Shared by all instrumentation of this crate: the scope, and the histograms of durations.

use opentelemetry::metrics::{Histogram, Meter};

/// The instrumentation scope of the crate's spans and metrics.
pub(crate) const SCOPE: &str = "platform-observability";

/// A histogram of durations, in seconds, with the boundaries that the conventions advise for HTTP
/// and messaging.
pub(crate) fn duration_histogram(
    meter: &Meter,
    name: &'static str,
    description: &'static str,
) -> Histogram<f64> {
    meter
        .f64_histogram(name)
        .with_unit("s")
        .with_description(description)
        .with_boundaries(vec![
            0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
        ])
        .build()
}
