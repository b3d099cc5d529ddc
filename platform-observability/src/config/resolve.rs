//! Combines the builder's settings with the environment.

use std::fmt;
use std::time::Duration;

use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::trace::Sampler;

use super::axiom::Axiom;
use super::batch::{self, BatchConfig};
use super::env::Env;
use super::exporter::Exporter;
use super::limits::Limits;
use super::{otlp, propagators, sampler};
use crate::error::Error;
use crate::http::{KnownMethods, SamplingHint};
use crate::propagation::Propagator;
use crate::signal::{PerSignal, Signal};

/// The exporter that the builder selected.
#[derive(Clone, Default)]
pub(crate) enum ExporterChoice {
    #[default]
    FromEnvironment,
    Axiom(Axiom),
    Otlp(String),
    Console,
}

impl fmt::Debug for ExporterChoice {
    /// Omits the URL, which may contain a secret until it is validated.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExporterChoice").finish_non_exhaustive()
    }
}

/// The validated configuration.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) exporters: PerSignal<Exporter>,
    /// `OTEL_SDK_DISABLED`: only log lines on standard error.
    pub(crate) disabled: bool,
    pub(crate) propagator: Propagator,
    pub(crate) sampler: Sampler,
    pub(crate) sampling: SamplingHint,
    pub(crate) methods: KnownMethods,
    pub(crate) limits: Limits,
    pub(crate) span_batches: BatchConfig,
    pub(crate) log_batches: BatchConfig,
    pub(crate) metric_interval: Duration,
    pub(crate) temporality: Temporality,
}

impl Config {
    pub(crate) fn resolve(
        service: &str,
        choice: &ExporterChoice,
        limits: Limits,
        env: Env<'_>,
    ) -> Result<Self, Error> {
        let disabled = env.bool("OTEL_SDK_DISABLED")?;
        batch::check_histogram_aggregation(env)?;
        let (sampler, sampling) = sampler::from_environment(env)?;
        let exporters = PerSignal::try_from_fn(|signal| {
            if disabled {
                return Ok(Exporter::None);
            }
            let timeout_variable = match signal {
                Signal::Traces => "OTEL_BSP_EXPORT_TIMEOUT",
                Signal::Metrics => "OTEL_METRIC_EXPORT_TIMEOUT",
                Signal::Logs => "OTEL_BLRP_EXPORT_TIMEOUT",
            };
            exporter(service, choice, signal, env)?.with_timeout(timeout_variable, env)
        })?;
        Ok(Self {
            exporters,
            disabled,
            propagator: propagators::propagator(env)?,
            sampler,
            sampling,
            methods: propagators::known_methods(env)?,
            limits: limits.or_environment(env)?,
            span_batches: BatchConfig::for_spans(env)?,
            log_batches: BatchConfig::for_logs(env)?,
            metric_interval: batch::metric_interval(env)?,
            temporality: batch::temporality(env)?,
        })
    }
}

fn exporter(
    service: &str,
    choice: &ExporterChoice,
    signal: Signal,
    env: Env<'_>,
) -> Result<Exporter, Error> {
    let default = || match choice {
        ExporterChoice::Axiom(axiom) => axiom.exporter(service, signal, env),
        ExporterChoice::Otlp(base) => otlp::from_base_url(base, signal, env),
        ExporterChoice::Console => Ok(Exporter::Console),
        ExporterChoice::FromEnvironment => match Axiom::from_environment(env)? {
            Some(axiom) => axiom.exporter(service, signal, env),
            None => otlp::from_environment(signal, env),
        },
    };
    let variable = format!("OTEL_{}_EXPORTER", signal.variable());
    match env.string(&variable)?.as_deref() {
        None => match default()? {
            // Metrics would drown the requests on a terminal.
            Exporter::Console if signal == Signal::Metrics => Ok(Exporter::None),
            exporter => Ok(exporter),
        },
        Some("none") => Ok(Exporter::None),
        Some("console") => Ok(Exporter::Console),
        Some("otlp") => match default()? {
            Exporter::Console => otlp::on_localhost(signal, env),
            exporter => Ok(exporter),
        },
        Some(other) => Err(Error::variable(
            variable,
            format!("is `{other}`, which is not a supported exporter"),
            "set it to `otlp`, `console` or `none`, or unset it",
        )),
    }
}
