//! Where each signal goes: by the builder, else by the environment.

mod axiom;
mod limits;
mod otlp;
mod resource;
#[cfg(test)]
mod tests;
mod variables;

use std::time::Duration;

use http::{HeaderName, HeaderValue};

pub use axiom::Axiom;
pub use limits::Limits;
pub(crate) use resource::resource;
pub(crate) use variables::Variables;

use crate::Error;
use crate::http::Sampling;
use crate::propagation::Propagation;

/// One of OpenTelemetry's signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// Spans.
    Traces,
    /// Measurements.
    Metrics,
    /// Events.
    Logs,
}

impl Signal {
    /// The word in OTLP's paths: `traces`, `metrics`, `logs`.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    /// The word in the variables' names.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
            Self::Logs => "LOGS",
        }
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.path())
    }
}

/// What [`TelemetryBuilder`](crate::TelemetryBuilder) was told about the destination.
#[derive(Clone, Debug, Default)]
pub(crate) enum Chosen {
    #[default]
    ByEnvironment,
    Axiom(Axiom),
    Otlp(String),
    Console,
}

/// Where one signal goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Otlp(Endpoint),
    /// Standard error, which shows logs, and a line for each request.
    Console,
    Nowhere,
}

/// An OTLP/HTTP endpoint of one signal.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) compression: Compression,
    /// How long one export may take, its retries included.
    pub(crate) timeout: Duration,
}

/// How requests to an endpoint are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the headers, which hold tokens, nor what follows a `?`.
        f.debug_struct("Endpoint")
            .field("url", &self.url.split('?').next())
            .field("compression", &self.compression)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Where all signals go.
#[derive(Debug)]
pub(crate) struct Destinations {
    pub(crate) traces: Destination,
    pub(crate) metrics: Destination,
    pub(crate) logs: Destination,
    /// `OTEL_SDK_DISABLED`: nothing but the log lines on standard error.
    pub(crate) disabled: bool,
    pub(crate) propagation: Propagation,
    pub(crate) sampling: Sampling,
    pub(crate) limits: Limits,
    /// How many spans, and how many log records, may wait to be sent.
    pub(crate) span_queue: usize,
    pub(crate) log_queue: usize,
}

impl Destinations {
    pub(crate) fn resolve(
        service: &str,
        chosen: &Chosen,
        limits: Limits,
        variables: Variables<'_>,
    ) -> Result<Self, Error> {
        let disabled = variables.switch("OTEL_SDK_DISABLED")?;
        let default = |signal| match chosen {
            Chosen::Axiom(axiom) => axiom.destination(service, signal, variables),
            Chosen::Otlp(base) => otlp::told(base, signal, variables),
            Chosen::Console => Ok(Destination::Console),
            Chosen::ByEnvironment => match Axiom::from_environment(variables)? {
                Some(axiom) => axiom.destination(service, signal, variables),
                None => otlp::from_environment(signal, variables),
            },
        };
        let destination = |signal: Signal| {
            if disabled {
                return Ok(Destination::Nowhere);
            }
            let variable = format!("OTEL_{}_EXPORTER", signal.variable());
            match variables.read(&variable)?.as_deref() {
                None => default(signal),
                Some("none") => Ok(Destination::Nowhere),
                Some("console") => Ok(Destination::Console),
                Some("otlp") => match default(signal)? {
                    Destination::Console => otlp::on_this_host(signal, variables),
                    destination => Ok(destination),
                },
                Some(other) => Err(Error::Variable {
                    variable,
                    problem: format!("is `{other}`, which is no exporter here"),
                    remedy: "set it to `otlp`, `console` or `none`, or unset it",
                }),
            }
        };
        Ok(Self {
            traces: destination(Signal::Traces)?,
            metrics: destination(Signal::Metrics)?,
            logs: destination(Signal::Logs)?,
            disabled,
            propagation: propagation(variables)?,
            sampling: sampling(variables)?,
            limits: limits.or_environment(variables)?,
            span_queue: queue("OTEL_BSP_MAX_QUEUE_SIZE", variables)?,
            log_queue: queue("OTEL_BLRP_MAX_QUEUE_SIZE", variables)?,
        })
    }
}

fn queue(variable: &str, variables: Variables<'_>) -> Result<usize, Error> {
    // By OpenTelemetry's specification.
    const DEFAULT: usize = 2048;
    let Some(value) = variables.read(variable)? else {
        return Ok(DEFAULT);
    };
    let size = value
        .parse()
        .ok()
        .filter(|size| (1..=10_000_000).contains(size));
    size.ok_or_else(|| Error::Variable {
        variable: variable.to_owned(),
        problem: format!("is `{value}`, which is no size of a queue"),
        remedy: "set it to a number of items from 1 to 10000000, or unset it",
    })
}

/// The SDK makes the sampler, and takes what it cannot read for the default.
fn sampling(variables: Variables<'_>) -> Result<Sampling, Error> {
    const VARIABLE: &str = "OTEL_TRACES_SAMPLER";
    const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
    let name = variables.read(VARIABLE)?;
    let name = name.as_deref().unwrap_or("parentbased_always_on");
    let (follows_callers, root) = match name.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, name),
    };
    match root {
        "always_on" | "always_off" => {}
        "traceidratio" => {
            let ratio = variables.read(ARGUMENT)?;
            let is_ratio = |it: &String| it.parse().is_ok_and(|it: f64| (0.0..=1.0).contains(&it));
            if let Some(ratio) = ratio.filter(|it| !is_ratio(it)) {
                return Err(Error::Variable {
                    variable: ARGUMENT.to_owned(),
                    problem: format!("is `{ratio}`, which is no share of the traces"),
                    remedy: "set it to a number from 0 to 1, or unset it",
                });
            }
        }
        _ => {
            return Err(Error::Variable {
                variable: VARIABLE.to_owned(),
                problem: format!("is `{name}`, which is no sampler here"),
                remedy: "set it to `always_on`, `always_off` or `traceidratio`, each with or without `parentbased_` in front, or unset it",
            });
        }
    }
    Ok(Sampling {
        follows_callers,
        keeps_roots: root == "always_on",
    })
}

fn propagation(variables: Variables<'_>) -> Result<Propagation, Error> {
    const VARIABLE: &str = "OTEL_PROPAGATORS";
    let Some(value) = variables.read(VARIABLE)? else {
        return Ok(Propagation::new(true, true));
    };
    let (mut trace_context, mut baggage) = (false, false);
    for name in value.split(',').map(str::trim) {
        match name {
            "tracecontext" => trace_context = true,
            "baggage" => baggage = true,
            "none" => {}
            other => {
                return Err(Error::Variable {
                    variable: VARIABLE.to_owned(),
                    problem: format!("names `{other}`, which is not known here"),
                    remedy: "list `tracecontext` and `baggage`, or `none`",
                });
            }
        }
    }
    Ok(Propagation::new(trace_context, baggage))
}

/// What is wrong with the URL of an endpoint, if anything.
fn url_problem(url: &str) -> Option<&'static str> {
    let Ok(parsed) = url.parse::<http::Uri>() else {
        return Some("is not a URL");
    };
    let (Some("http" | "https"), Some(authority)) = (parsed.scheme_str(), parsed.authority())
    else {
        return Some("is not a URL of http or https");
    };
    // Error messages of the exporters show the URL.
    authority
        .as_str()
        .contains('@')
        .then_some("holds a user or a password, which would show in messages")
}

const URL_REMEDY: &str =
    "write it as https://HOST or http://HOST:PORT; credentials go into headers";
