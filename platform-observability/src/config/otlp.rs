use std::time::Duration;

use http::{HeaderName, HeaderValue};
use opentelemetry_otlp::Compression;

use super::env::{Env, otlp_variables, parse_pairs};
use super::exporter::{Endpoint, Exporter, URL_REMEDY, base_url_problem, url_problem};
use super::tls::Tls;
use crate::error::Error;
use crate::signal::Signal;

const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The export timeout, by OpenTelemetry's exporter specification.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// The collector that the environment names, else the console.
pub(super) fn from_environment(signal: Signal, env: Env<'_>) -> Result<Exporter, Error> {
    let own = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.variable());
    let (variable, url, problem) = match (env.string(&own)?, env.string(BASE)?) {
        (Some(url), _) => {
            let problem = url_problem(&url);
            (own, url, problem)
        }
        (None, Some(base)) => (
            BASE.to_owned(),
            with_path(&base, signal),
            base_url_problem(&base),
        ),
        (None, None) => return Ok(Exporter::Console),
    };
    match problem {
        Some(problem) => Err(Error::variable(variable, problem, URL_REMEDY)),
        None => endpoint(url, signal, env),
    }
}

/// The collector at a base URL that is set in code.
pub(super) fn from_base_url(base: &str, signal: Signal, env: Env<'_>) -> Result<Exporter, Error> {
    match base_url_problem(base) {
        Some(problem) => Err(Error::setting("otlp", problem, URL_REMEDY)),
        None => endpoint(with_path(base, signal), signal, env),
    }
}

/// A collector's default address.
pub(super) fn on_localhost(signal: Signal, env: Env<'_>) -> Result<Exporter, Error> {
    endpoint(with_path("http://localhost:4318", signal), signal, env)
}

fn with_path(base: &str, signal: Signal) -> String {
    format!("{}/v1/{}", base.trim_end_matches('/'), signal.path())
}

fn endpoint(url: String, signal: Signal, env: Env<'_>) -> Result<Exporter, Error> {
    check_protocol(signal, env)?;
    Ok(Exporter::Otlp(Endpoint {
        url,
        headers: headers(signal, env)?,
        compression: compression(None, signal, env)?,
        timeout: timeout(signal, env)?,
        tls: Tls::from_environment(signal, env)?,
    }))
}

/// `name=value,name=value`, with percent-encoded values as in W3C Baggage.
fn headers(signal: Signal, env: Env<'_>) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
    let Some((variable, list)) = env.otlp(signal, "HEADERS")? else {
        return Ok(Vec::new());
    };
    let header = |(name, value): (&str, String)| {
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some((name.parse().ok()?, value))
    };
    let headers = parse_pairs(&list).and_then(|pairs| pairs.into_iter().map(header).collect());
    headers.ok_or_else(|| {
        Error::variable(
            variable,
            // Without the value, which is secret.
            "is not a list of headers",
            "write it as `name=value,name=value`, with commas in values percent-encoded",
        )
    })
}

/// The compression that the environment sets, else `default`.
pub(super) fn compression(
    default: Option<Compression>,
    signal: Signal,
    env: Env<'_>,
) -> Result<Option<Compression>, Error> {
    let Some((variable, value)) = env.otlp(signal, "COMPRESSION")? else {
        return Ok(default);
    };
    match value.as_str() {
        "none" => Ok(None),
        "gzip" => Ok(Some(Compression::Gzip)),
        "zstd" if cfg!(feature = "zstd") => Ok(Some(Compression::Zstd)),
        "zstd" => Err(Error::variable(
            variable,
            "is `zstd`, which is not compiled in",
            "enable the feature `zstd` of platform-observability, or set it to `gzip`",
        )),
        _ => Err(Error::variable(
            variable,
            format!("is `{value}`, which is not a supported compression"),
            "set it to `gzip`, `zstd` or `none`, or unset it",
        )),
    }
}

fn timeout(signal: Signal, env: Env<'_>) -> Result<Duration, Error> {
    for variable in otlp_variables(signal, "TIMEOUT") {
        let milliseconds = env.integer(
            &variable,
            1..=600_000,
            "which is not a timeout",
            "set it to milliseconds, from 1 to 600000, or unset it for 10000",
        )?;
        if let Some(milliseconds) = milliseconds {
            return Ok(Duration::from_millis(milliseconds));
        }
    }
    Ok(TIMEOUT)
}

fn check_protocol(signal: Signal, env: Env<'_>) -> Result<(), Error> {
    match env.otlp(signal, "PROTOCOL")? {
        Some((variable, value)) if value != "http/protobuf" => Err(Error::variable(
            variable,
            format!("is `{value}`, which is not a supported protocol"),
            "set it to `http/protobuf` (port 4318 of most collectors), or unset it",
        )),
        _ => Ok(()),
    }
}
