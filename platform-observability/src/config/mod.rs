//! Where each signal goes: by the builder, else by the environment.

mod axiom;
mod otlp;

use std::collections::HashMap;
use std::time::Duration;

pub use axiom::Axiom;

use crate::Error;

/// Looks a variable up; tests pass their own.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

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
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    Otlp(Endpoint),
    /// Logs to the console; the console shows no traces and metrics.
    Console,
    Nowhere,
}

/// An OTLP/HTTP endpoint of one signal.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    /// Sent with every request, over whatever the environment adds.
    pub(crate) headers: HashMap<&'static str, String>,
    pub(crate) gzip: bool,
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // The headers hold the token, and a URL may hold a password.
            Self::Otlp(_) => f.write_str("Otlp(..)"),
            Self::Console => f.write_str("Console"),
            Self::Nowhere => f.write_str("Nowhere"),
        }
    }
}

/// Where all signals go.
#[derive(Debug)]
pub(crate) struct Destinations {
    pub(crate) traces: Destination,
    pub(crate) metrics: Destination,
    pub(crate) logs: Destination,
    /// How long one export may take.
    pub(crate) timeout: Duration,
    /// How context is carried between services, by the names that OpenTelemetry gives them.
    pub(crate) propagators: Vec<Propagator>,
}

/// A format in which context is carried between services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagator {
    TraceContext,
    Baggage,
}

impl Destinations {
    pub(crate) fn resolve(
        service: &str,
        chosen: &Chosen,
        environment: Environment<'_>,
    ) -> Result<Self, Error> {
        let disabled = switch("OTEL_SDK_DISABLED", environment)?;
        let default = |signal| -> Result<Destination, Error> {
            match chosen {
                Chosen::Axiom(axiom) => axiom.destination(signal),
                Chosen::Otlp(endpoint) => otlp::at(endpoint, signal),
                Chosen::Console => Ok(Destination::Console),
                Chosen::ByEnvironment => match Axiom::from_environment(service, environment)? {
                    Some(axiom) => axiom.destination(signal),
                    None => otlp::from_environment(signal, environment),
                },
            }
        };
        let destination = |signal: Signal| -> Result<Destination, Error> {
            if disabled {
                return Ok(Destination::Nowhere);
            }
            let variable = format!("OTEL_{}_EXPORTER", signal.variable());
            match read(&variable, environment).as_deref() {
                None => default(signal),
                Some("none") => Ok(Destination::Nowhere),
                Some("console") => Ok(Destination::Console),
                Some("otlp") => match default(signal)? {
                    Destination::Console => otlp::at("http://localhost:4318", signal),
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
            timeout: timeout(environment)?,
            propagators: propagators(environment)?,
        })
    }
}

fn timeout(environment: Environment<'_>) -> Result<Duration, Error> {
    const VARIABLE: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
    let Some(value) = read(VARIABLE, environment) else {
        return Ok(Duration::from_secs(10));
    };
    match value.parse() {
        Ok(milliseconds @ 1..=600_000) => Ok(Duration::from_millis(milliseconds)),
        _ => Err(Error::Variable {
            variable: VARIABLE.to_owned(),
            problem: format!("is `{value}`, which is no time-out"),
            remedy: "set it to milliseconds, from 1 to 600000, or unset it for 10000",
        }),
    }
}

fn propagators(environment: Environment<'_>) -> Result<Vec<Propagator>, Error> {
    const VARIABLE: &str = "OTEL_PROPAGATORS";
    let Some(value) = read(VARIABLE, environment) else {
        return Ok(vec![Propagator::TraceContext, Propagator::Baggage]);
    };
    let mut propagators = Vec::new();
    for name in value.split(',').map(str::trim) {
        match name {
            "tracecontext" => propagators.push(Propagator::TraceContext),
            "baggage" => propagators.push(Propagator::Baggage),
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
    Ok(propagators)
}

/// A variable that is set to something; by OpenTelemetry's rule, empty is unset.
pub(crate) fn read(variable: &str, environment: Environment<'_>) -> Option<String> {
    environment(variable)
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
}

fn switch(variable: &str, environment: Environment<'_>) -> Result<bool, Error> {
    match read(variable, environment) {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
        Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
        Some(value) => Err(Error::Variable {
            variable: variable.to_owned(),
            problem: format!("is `{value}`, which is neither true nor false"),
            remedy: "set it to `true` or `false`, or unset it",
        }),
    }
}

/// Checks what will be asked for with a request's URL.
fn check_url(variable: &str, url: &str) -> Result<(), Error> {
    let scheme = url
        .split_once("://")
        .map(|(scheme, rest)| (scheme, !rest.is_empty()));
    let parsed = url.parse::<http::Uri>().is_ok();
    match scheme {
        Some(("http" | "https", true)) if parsed => Ok(()),
        _ => Err(Error::Variable {
            variable: variable.to_owned(),
            // The value may hold a password.
            problem: "is not a URL".to_owned(),
            remedy: "write it as http://HOST:PORT or https://HOST, without spaces",
        }),
    }
}

#[cfg(test)]
mod tests;
