//! Batch sizes, intervals and temporality.

use std::time::Duration;

use opentelemetry_sdk::metrics::Temporality;

use super::env::Env;
use crate::error::Error;

/// The settings of a batch processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchConfig {
    pub(crate) max_queue_size: usize,
    pub(crate) max_export_batch_size: usize,
    pub(crate) schedule_delay: Duration,
}

impl BatchConfig {
    /// `OTEL_BSP_*`.
    pub(super) fn for_spans(env: Env<'_>) -> Result<Self, Error> {
        Self::from_environment("OTEL_BSP", Duration::from_secs(5), env)
    }

    /// `OTEL_BLRP_*`.
    pub(super) fn for_logs(env: Env<'_>) -> Result<Self, Error> {
        Self::from_environment("OTEL_BLRP", Duration::from_secs(1), env)
    }

    /// The defaults are those of OpenTelemetry's specification.
    fn from_environment(prefix: &str, delay: Duration, env: Env<'_>) -> Result<Self, Error> {
        const REMEDY: &str = "set it to a number of items from 1 to 10000000, or unset it";
        let items = |name: &str, problem| {
            let items = env.integer(name, 1..=10_000_000, problem, REMEDY)?;
            Ok::<_, Error>(items.and_then(|items| usize::try_from(items).ok()))
        };
        let batch_variable = format!("{prefix}_MAX_EXPORT_BATCH_SIZE");
        let queue = items(
            &format!("{prefix}_MAX_QUEUE_SIZE"),
            "which is not a queue size",
        )?;
        let queue = queue.unwrap_or(2048);
        let batch = items(&batch_variable, "which is not a batch size")?;
        if let Some(batch) = batch.filter(|batch| *batch > queue) {
            return Err(Error::variable(
                batch_variable,
                format!("is `{batch}`, more than the queue size of {queue}"),
                "lower it, or raise the variable that ends in _MAX_QUEUE_SIZE",
            ));
        }
        let configured = milliseconds(&format!("{prefix}_SCHEDULE_DELAY"), env)?;
        Ok(Self {
            max_queue_size: queue,
            max_export_batch_size: batch.unwrap_or(512).min(queue),
            schedule_delay: configured.unwrap_or(delay),
        })
    }
}

/// How often metrics are collected and exported: `OTEL_METRIC_EXPORT_INTERVAL`.
pub(super) fn metric_interval(env: Env<'_>) -> Result<Duration, Error> {
    let configured = milliseconds("OTEL_METRIC_EXPORT_INTERVAL", env)?;
    Ok(configured.unwrap_or(Duration::from_secs(60)))
}

pub(super) fn temporality(env: Env<'_>) -> Result<Temporality, Error> {
    const VARIABLE: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    let Some(value) = env.string(VARIABLE)? else {
        return Ok(Temporality::Cumulative);
    };
    match value.to_ascii_lowercase().as_str() {
        "cumulative" => Ok(Temporality::Cumulative),
        "delta" => Ok(Temporality::Delta),
        "lowmemory" => Ok(Temporality::LowMemory),
        _ => Err(Error::variable(
            VARIABLE,
            format!("is `{value}`, which is not a temporality"),
            "set it to `cumulative`, `delta` or `lowmemory`, or unset it",
        )),
    }
}

/// Checks that no unsupported histogram aggregation is requested. The SDK would silently use the
/// default.
pub(super) fn check_histogram_aggregation(env: Env<'_>) -> Result<(), Error> {
    const VARIABLE: &str = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
    match env.string(VARIABLE)? {
        Some(value) if !value.eq_ignore_ascii_case("explicit_bucket_histogram") => {
            Err(Error::variable(
                VARIABLE,
                format!("is `{value}`, which is not supported"),
                "set it to `explicit_bucket_histogram`, or unset it",
            ))
        }
        _ => Ok(()),
    }
}

pub(super) fn milliseconds(variable: &str, env: Env<'_>) -> Result<Option<Duration>, Error> {
    let milliseconds = env.integer(
        variable,
        1..=3_600_000,
        "which is not a duration",
        "set it to milliseconds, from 1 to 3600000 (an hour), or unset it",
    )?;
    Ok(milliseconds.map(Duration::from_millis))
}
