//! Where each signal goes: by the builder, else by the environment.

mod axiom;
mod batches;
mod limits;
mod otlp;
mod resource;
mod sampler;
#[cfg(test)]
mod tests;
mod tls;
mod variables;

use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::trace::Sampler;

pub use axiom::Axiom;
pub(crate) use batches::Batches;
pub use limits::Limits;
pub(crate) use resource::resource;
pub(crate) use tls::Tls;
pub(crate) use variables::Variables;

use crate::Error;
use crate::http::{Methods, Sampling};
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
#[derive(Clone, Default)]
pub(crate) enum Chosen {
    #[default]
    ByEnvironment,
    Axiom(Axiom),
    Otlp(String),
    Console,
}

impl fmt::Debug for Chosen {
    /// Without the URL, which may hold a secret before it is looked at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByEnvironment => f.write_str("ByEnvironment"),
            Self::Axiom(axiom) => f.debug_tuple("Axiom").field(axiom).finish(),
            Self::Otlp(_) => f.write_str("Otlp(…)"),
            Self::Console => f.write_str("Console"),
        }
    }
}

/// Where one signal goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Otlp(Endpoint),
    /// Standard error, which shows logs, and a line for each request; of metrics, which are shown
    /// only when they are asked for, standard output.
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
    pub(crate) tls: Tls,
}

impl Destination {
    /// The same, but an export takes no longer than `variable` says.
    fn within(mut self, variable: &str, variables: Variables<'_>) -> Result<Self, Error> {
        if let Some(most) = batches::milliseconds(variable, variables)?
            && let Self::Otlp(endpoint) = &mut self
        {
            endpoint.timeout = endpoint.timeout.min(most);
        }
        Ok(self)
    }
}

/// How requests to an endpoint are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Endpoint {
    /// The URL without what follows a `?`.
    pub(crate) fn place(&self) -> &str {
        self.url.split('?').next().unwrap_or_default()
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the headers, which hold tokens.
        f.debug_struct("Endpoint")
            .field("url", &self.place())
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
    pub(crate) sampler: Sampler,
    pub(crate) sampling: Sampling,
    /// The HTTP methods that are told apart.
    pub(crate) methods: Methods,
    pub(crate) limits: Limits,
    pub(crate) spans: Batches,
    pub(crate) log_records: Batches,
    /// How often metrics are read and sent.
    pub(crate) metric_interval: Duration,
    pub(crate) temporality: Temporality,
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
                None => match default(signal)? {
                    // Nobody reads them while a request is read.
                    Destination::Console if signal == Signal::Metrics => Ok(Destination::Nowhere),
                    destination => Ok(destination),
                },
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
        batches::check_histograms(variables)?;
        let (sampler, sampling) = sampler::sampler(variables)?;
        let traces = destination(Signal::Traces)?;
        let metrics = destination(Signal::Metrics)?;
        let logs = destination(Signal::Logs)?;
        Ok(Self {
            traces: traces.within("OTEL_BSP_EXPORT_TIMEOUT", variables)?,
            metrics: metrics.within("OTEL_METRIC_EXPORT_TIMEOUT", variables)?,
            logs: logs.within("OTEL_BLRP_EXPORT_TIMEOUT", variables)?,
            disabled,
            propagation: propagation(variables)?,
            sampler,
            sampling,
            methods: methods(variables)?,
            limits: limits.or_environment(variables)?,
            spans: Batches::of_spans(variables)?,
            log_records: Batches::of_logs(variables)?,
            metric_interval: batches::metric_interval(variables)?,
            temporality: batches::temporality(variables)?,
        })
    }

    /// Where signals are sent to, without what follows a `?`.
    pub(crate) fn urls(&self) -> Vec<(Signal, String)> {
        let all = [
            (Signal::Traces, &self.traces),
            (Signal::Metrics, &self.metrics),
            (Signal::Logs, &self.logs),
        ];
        let urls = all.into_iter().filter_map(|(signal, destination)| {
            let Destination::Otlp(endpoint) = destination else {
                return None;
            };
            Some((signal, endpoint.place().to_owned()))
        });
        urls.collect()
    }
}

/// By the HTTP conventions, instead of the default ones, and case-sensitive.
fn methods(variables: Variables<'_>) -> Result<Methods, Error> {
    const VARIABLE: &str = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS";
    let Some(value) = variables.read(VARIABLE)? else {
        return Ok(Methods::default());
    };
    let names = value.split(',').map(str::trim);
    let methods = names.filter(|name| !name.is_empty()).map(|name| {
        name.parse().map_err(|_| Error::Variable {
            variable: VARIABLE.to_owned(),
            problem: format!("names `{name}`, which is no HTTP method"),
            remedy: "list methods with commas between them, such as `GET,POST,PURGE`, or unset it",
        })
    });
    Ok(Methods::only(methods.collect::<Result<_, _>>()?))
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

/// The same of a URL that a path is put behind.
fn base_url_problem(url: &str) -> Option<&'static str> {
    let ends = || url.contains(['?', '#']);
    url_problem(url)
        .or_else(|| ends().then_some("holds a query, behind which no signal's path can stand"))
}

const URL_REMEDY: &str =
    "write it as https://HOST or http://HOST:PORT; credentials go into headers";
