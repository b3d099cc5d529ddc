use std::time::Duration;

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::tls::Tls;
use super::{
    Compression, Destination, Endpoint, Signal, URL_REMEDY, Variables, base_url_problem,
    url_problem,
};
use crate::Error;

const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// How long one export may take, by OpenTelemetry's exporter specification.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// The collector that the environment names, else the console.
pub(super) fn from_environment(
    signal: Signal,
    variables: Variables<'_>,
) -> Result<Destination, Error> {
    let own = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.variable());
    let (variable, url, problem) = match (variables.read(&own)?, variables.read(BASE)?) {
        (Some(url), _) => {
            let problem = url_problem(&url);
            (own, url, problem)
        }
        (None, Some(base)) => (
            BASE.to_owned(),
            below(&base, signal),
            base_url_problem(&base),
        ),
        (None, None) => return Ok(Destination::Console),
    };
    if let Some(problem) = problem {
        return Err(Error::Variable {
            variable,
            problem: problem.to_owned(),
            remedy: URL_REMEDY,
        });
    }
    endpoint(url, signal, variables)
}

/// The collector that the code names by its base URL.
pub(super) fn told(
    base: &str,
    signal: Signal,
    variables: Variables<'_>,
) -> Result<Destination, Error> {
    if let Some(problem) = base_url_problem(base) {
        return Err(Error::Setting {
            setting: "otlp",
            problem: problem.to_owned(),
            remedy: URL_REMEDY,
        });
    }
    endpoint(below(base, signal), signal, variables)
}

/// Where a collector is by default.
pub(super) fn on_this_host(signal: Signal, variables: Variables<'_>) -> Result<Destination, Error> {
    endpoint(below("http://localhost:4318", signal), signal, variables)
}

fn below(base: &str, signal: Signal) -> String {
    format!("{}/v1/{}", base.trim_end_matches('/'), signal.path())
}

fn endpoint(url: String, signal: Signal, variables: Variables<'_>) -> Result<Destination, Error> {
    check_protocol(signal, variables)?;
    Ok(Destination::Otlp(Endpoint {
        url,
        headers: headers(signal, variables)?,
        compression: compression(signal, variables)?.unwrap_or(Compression::None),
        timeout: timeout(signal, variables)?,
        tls: Tls::from_environment(signal, variables)?,
    }))
}

/// The names of a signal's own variable and of the one for all signals, which it overrides.
pub(super) fn names(signal: Signal, what: &str) -> [String; 2] {
    [
        format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.variable()),
        format!("OTEL_EXPORTER_OTLP_{what}"),
    ]
}

/// `name=value,name=value`, the values percent-encoded as in W3C Baggage.
fn headers(
    signal: Signal,
    variables: Variables<'_>,
) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
    let Some((variable, listed)) = variables.first(names(signal, "HEADERS"))? else {
        return Ok(Vec::new());
    };
    let entries = listed
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    let parsed = entries.map(|entry| {
        let (name, value) = entry.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some((name.trim().parse().ok()?, value))
    });
    parsed
        .collect::<Option<_>>()
        .ok_or_else(|| Error::Variable {
            variable,
            // The value holds a secret.
            problem: "is not a list of headers".to_owned(),
            remedy: "write it as `name=value,name=value`, with commas in values percent-encoded",
        })
}

/// What the variables say; none where they say nothing.
pub(super) fn compression(
    signal: Signal,
    variables: Variables<'_>,
) -> Result<Option<Compression>, Error> {
    let Some((variable, value)) = variables.first(names(signal, "COMPRESSION"))? else {
        return Ok(None);
    };
    match value.as_str() {
        "none" => Ok(Some(Compression::None)),
        "gzip" => Ok(Some(Compression::Gzip)),
        "zstd" if cfg!(feature = "zstd") => Ok(Some(Compression::Zstd)),
        "zstd" => Err(Error::Variable {
            variable,
            problem: "is `zstd`, which is not compiled in".to_owned(),
            remedy: "switch on the feature `zstd` of platform-observability, or set it to `gzip`",
        }),
        _ => Err(Error::Variable {
            variable,
            problem: format!("is `{value}`, which is no compression here"),
            remedy: "set it to `gzip`, `zstd` or `none`, or unset it",
        }),
    }
}

fn timeout(signal: Signal, variables: Variables<'_>) -> Result<Duration, Error> {
    for variable in names(signal, "TIMEOUT") {
        let told = variables.number(
            &variable,
            1..=600_000,
            "which is no time-out",
            "set it to milliseconds, from 1 to 600000, or unset it for 10000",
        )?;
        if let Some(told) = told {
            return Ok(Duration::from_millis(told));
        }
    }
    Ok(TIMEOUT)
}

fn check_protocol(signal: Signal, variables: Variables<'_>) -> Result<(), Error> {
    match variables.first(names(signal, "PROTOCOL"))? {
        None => Ok(()),
        Some((_, value)) if value == "http/protobuf" => Ok(()),
        Some((variable, value)) => Err(Error::Variable {
            variable,
            problem: format!("is `{value}`, which is not spoken here"),
            remedy: "set it to `http/protobuf` (port 4318 of most collectors), or unset it",
        }),
    }
}
