//! How much of a signal is sent at once, and how often.

use std::time::Duration;

use opentelemetry_sdk::metrics::Temporality;

use super::Variables;
use crate::Error;

/// How a queue is emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batches {
    /// How many items may wait.
    pub(crate) queue: usize,
    /// How many are sent at once, at most.
    pub(crate) size: usize,
    /// How long it waits for a batch to fill.
    pub(crate) delay: Duration,
}

impl Batches {
    /// By `OTEL_BSP_*`.
    pub(super) fn of_spans(variables: Variables<'_>) -> Result<Self, Error> {
        Self::of("OTEL_BSP", Duration::from_secs(5), variables)
    }

    /// By `OTEL_BLRP_*`.
    pub(super) fn of_logs(variables: Variables<'_>) -> Result<Self, Error> {
        Self::of("OTEL_BLRP", Duration::from_secs(1), variables)
    }

    /// The defaults are those of OpenTelemetry's specification.
    fn of(prefix: &str, delay: Duration, variables: Variables<'_>) -> Result<Self, Error> {
        const ITEMS: &str = "set it to a number of items from 1 to 10000000, or unset it";
        let items = |name: &str, problem| {
            let items = variables.number(name, 1..=10_000_000, problem, ITEMS)?;
            Ok::<_, Error>(items.and_then(|items| usize::try_from(items).ok()))
        };
        let size_variable = format!("{prefix}_MAX_EXPORT_BATCH_SIZE");
        let queue = items(
            &format!("{prefix}_MAX_QUEUE_SIZE"),
            "which is no size of a queue",
        )?
        .unwrap_or(2048);
        let size = items(&size_variable, "which is no size of a batch")?;
        if let Some(size) = size.filter(|size| *size > queue) {
            return Err(Error::Variable {
                variable: size_variable,
                problem: format!("is `{size}`, more than the {queue} that may wait"),
                remedy: "set it lower, or the variable that ends in _MAX_QUEUE_SIZE higher",
            });
        }
        let told = milliseconds(&format!("{prefix}_SCHEDULE_DELAY"), variables)?;
        Ok(Self {
            queue,
            size: size.unwrap_or(512).min(queue),
            delay: told.unwrap_or(delay),
        })
    }
}

/// How often metrics are read and sent: `OTEL_METRIC_EXPORT_INTERVAL`.
pub(super) fn metric_interval(variables: Variables<'_>) -> Result<Duration, Error> {
    let told = milliseconds("OTEL_METRIC_EXPORT_INTERVAL", variables)?;
    Ok(told.unwrap_or(Duration::from_secs(60)))
}

/// Whether what metrics count is counted from the start, or from the last export.
pub(super) fn temporality(variables: Variables<'_>) -> Result<Temporality, Error> {
    const VARIABLE: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    let Some(value) = variables.read(VARIABLE)? else {
        return Ok(Temporality::Cumulative);
    };
    match value.to_ascii_lowercase().as_str() {
        "cumulative" => Ok(Temporality::Cumulative),
        "delta" => Ok(Temporality::Delta),
        "lowmemory" => Ok(Temporality::LowMemory),
        _ => Err(Error::Variable {
            variable: VARIABLE.to_owned(),
            problem: format!("is `{value}`, which is no temporality"),
            remedy: "set it to `cumulative`, `delta` or `lowmemory`, or unset it",
        }),
    }
}

/// What `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION` asks for is what there is, or an
/// error: an exponential histogram is not to be had silently as another.
pub(super) fn check_histograms(variables: Variables<'_>) -> Result<(), Error> {
    const VARIABLE: &str = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
    match variables.read(VARIABLE)? {
        None => Ok(()),
        Some(value) if value.eq_ignore_ascii_case("explicit_bucket_histogram") => Ok(()),
        Some(value) => Err(Error::Variable {
            variable: VARIABLE.to_owned(),
            problem: format!("is `{value}`, which is not made here"),
            remedy: "set it to `explicit_bucket_histogram`, or unset it",
        }),
    }
}

/// A time of the environment.
pub(super) fn milliseconds(
    variable: &str,
    variables: Variables<'_>,
) -> Result<Option<Duration>, Error> {
    let told = variables.number(
        variable,
        1..=3_600_000,
        "which is no time",
        "set it to milliseconds, from 1 to 3600000 (an hour), or unset it",
    )?;
    Ok(told.map(Duration::from_millis))
}
