//! Where the telemetry of one signal is exported to.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use opentelemetry_otlp::Compression;

use super::batch;
use super::env::Env;
use super::tls::Tls;
use crate::error::Error;

/// The exporter of one signal (`OTEL_{TRACES,METRICS,LOGS}_EXPORTER`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exporter {
    Otlp(Endpoint),
    /// Standard error for logs and requests; standard output for metrics, which are written only
    /// if `OTEL_METRICS_EXPORTER` selects the console.
    Console,
    None,
}

/// The OTLP/HTTP endpoint of one signal.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) compression: Option<Compression>,
    /// The timeout of one export, retries included.
    pub(crate) timeout: Duration,
    pub(crate) tls: Tls,
}

impl Exporter {
    /// Lowers the export timeout to the value of `variable`, if that is lower.
    pub(super) fn with_timeout(mut self, variable: &str, env: Env<'_>) -> Result<Self, Error> {
        if let Some(timeout) = batch::milliseconds(variable, env)?
            && let Self::Otlp(endpoint) = &mut self
        {
            endpoint.timeout = endpoint.timeout.min(timeout);
        }
        Ok(self)
    }

    /// The endpoint's URL without its query.
    pub(crate) fn url(&self) -> Option<&str> {
        match self {
            Self::Otlp(endpoint) => Some(endpoint.url_without_query()),
            Self::Console | Self::None => None,
        }
    }
}

impl Endpoint {
    fn url_without_query(&self) -> &str {
        self.url.split('?').next().unwrap_or_default()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the headers, which contain tokens.
        f.debug_struct("Endpoint")
            .field("url", &self.url_without_query())
            .field("compression", &self.compression)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

pub(super) const URL_REMEDY: &str =
    "write it as https://HOST or http://HOST:PORT; credentials go into headers";

/// Describes the problem with an endpoint's URL, if there is one.
pub(super) fn url_problem(url: &str) -> Option<&'static str> {
    let Ok(parsed) = url.parse::<http::Uri>() else {
        return Some("is not a URL");
    };
    let (Some("http" | "https"), Some(authority)) = (parsed.scheme_str(), parsed.authority())
    else {
        return Some("is not an http or https URL");
    };
    // The exporters' error messages contain the URL.
    authority
        .as_str()
        .contains('@')
        .then_some("contains a user or a password, which would appear in messages")
}

/// Describes the problem with a URL to which a signal's path will be appended, if there is one.
pub(super) fn base_url_problem(url: &str) -> Option<&'static str> {
    url_problem(url).or_else(|| {
        url.contains(['?', '#'])
            .then_some("contains a query, after which no path can follow")
    })
}
