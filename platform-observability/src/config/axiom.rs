use std::net::IpAddr;

use http::{HeaderName, HeaderValue};
use opentelemetry_otlp::Compression;

use super::env::Env;
use super::exporter::{Endpoint, Exporter, URL_REMEDY, base_url_problem};
use super::otlp::{TIMEOUT, compression};
use super::tls::Tls;
use crate::error::Error;
use crate::http::without_brackets;
use crate::signal::{PerSignal, Signal};

/// Axiom as the exporter of all signals: a token, an edge, and one dataset for each signal.
///
/// If `AXIOM_TOKEN` is set, [`Telemetry::init`](crate::Telemetry::init) creates this configuration
/// from the environment. `init` validates it.
///
/// ```
/// use platform_observability::{Axiom, Signal};
///
/// let axiom = Axiom::new("xaat-…")
///     .edge("eu-central-1")
///     .dataset(Signal::Logs, "all-logs");
/// ```
#[derive(Clone)]
#[must_use]
pub struct Axiom {
    token: String,
    url: String,
    /// The variable that set `url`, for error messages.
    url_variable: &'static str,
    datasets: PerSignal<Option<String>>,
    from_environment: bool,
}

impl Axiom {
    /// Exports to Axiom's edge in us-east-1, with an API token (`xaat-…`; edges refuse personal
    /// tokens, `xapt-…`), into the datasets `<service>-traces`, `<service>-metrics` and
    /// `<service>-logs`.
    pub fn new(token: impl Into<String>) -> Self {
        Self {
            token: token.into(),
            url: edge_url("us-east-1"),
            url_variable: "AXIOM_EDGE_URL",
            datasets: PerSignal::default(),
            from_environment: false,
        }
    }

    /// Sets the edge by its region, such as `eu-central-1`, or its host name.
    pub fn edge(mut self, edge: &str) -> Self {
        self.url = edge_url(edge);
        self
    }

    /// Sets the edge by its base URL.
    pub fn edge_url(mut self, url: impl Into<String>) -> Self {
        self.url = url.into();
        self
    }

    /// Sets the dataset of one signal. Axiom requires a separate dataset for each signal.
    pub fn dataset(mut self, signal: Signal, dataset: impl Into<String>) -> Self {
        self.datasets[signal] = Some(dataset.into());
        self
    }

    pub(super) fn from_environment(env: Env<'_>) -> Result<Option<Self>, Error> {
        let Some(token) = env.string("AXIOM_TOKEN")? else {
            return Ok(None);
        };
        let mut axiom = Self::new(token);
        axiom.from_environment = true;
        if let Some(url) = env.string("AXIOM_EDGE_URL")? {
            axiom = axiom.edge_url(url);
        } else if let Some(edge) = env.string("AXIOM_EDGE")? {
            axiom.url_variable = "AXIOM_EDGE";
            axiom = axiom.edge(&edge);
        } else if let Some(url) = env.string("AXIOM_URL")? {
            axiom.url_variable = "AXIOM_URL";
            axiom.url = edge_for_api_url(&url)?.unwrap_or(axiom.url);
        }
        for signal in Signal::ALL {
            if let Some(dataset) = env.string(&dataset_variable(signal))? {
                axiom = axiom.dataset(signal, dataset);
            }
        }
        Ok(Some(axiom))
    }

    pub(super) fn exporter(
        &self,
        service: &str,
        signal: Signal,
        env: Env<'_>,
    ) -> Result<Exporter, Error> {
        let authorization = self.authorization()?;
        let url = self.url.trim_end_matches('/');
        let problem = base_url_problem(url)
            .or_else(|| is_unencrypted(url).then_some("would send the token unencrypted"));
        if let Some(problem) = problem {
            return Err(self.invalid(self.url_variable, "Axiom::edge", problem, URL_REMEDY));
        }
        let header = match signal {
            Signal::Traces | Signal::Logs => "x-axiom-dataset",
            // Axiom's documentation calls it the most common mistake to use the other header.
            Signal::Metrics => "x-axiom-metrics-dataset",
        };
        Ok(Exporter::Otlp(Endpoint {
            url: format!("{url}/v1/{signal}"),
            headers: vec![
                (http::header::AUTHORIZATION, authorization),
                (
                    HeaderName::from_static(header),
                    self.dataset_header(service, signal)?,
                ),
            ],
            compression: compression(Some(Compression::Gzip), signal, env)?,
            timeout: TIMEOUT,
            // Axiom's certificates are signed by public authorities.
            tls: Tls::default(),
        }))
    }

    fn dataset_header(&self, service: &str, signal: Signal) -> Result<HeaderValue, Error> {
        let dataset = match &self.datasets[signal] {
            Some(dataset) => dataset.clone(),
            None => format!("{service}-{signal}"),
        };
        let is_visible = !dataset.is_empty() && dataset.bytes().all(|byte| byte.is_ascii_graphic());
        let value = HeaderValue::from_str(&dataset).ok();
        value.filter(|_| is_visible).ok_or_else(|| {
            self.invalid(
                &dataset_variable(signal),
                "Axiom::dataset",
                "is not a dataset's name",
                "use the name of one of your datasets, in ASCII and without spaces",
            )
        })
    }

    fn authorization(&self) -> Result<HeaderValue, Error> {
        let problem = if self.token.starts_with("xapt-") {
            "is a personal token, which Axiom's edges refuse"
        } else if self.token.is_empty() || !self.token.bytes().all(|b| b.is_ascii_graphic()) {
            "is not a token"
        } else if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", self.token)) {
            value.set_sensitive(true);
            return Ok(value);
        } else {
            "is not a token"
        };
        Err(self.invalid(
            "AXIOM_TOKEN",
            "Axiom::new",
            problem,
            "create an API token (xaat-…) that may ingest into the three datasets, in Axiom's settings",
        ))
    }

    fn invalid(
        &self,
        variable: &str,
        setting: &'static str,
        problem: &str,
        remedy: &'static str,
    ) -> Error {
        match self.from_environment {
            true => Error::variable(variable, problem, remedy),
            false => Error::setting(setting, problem, remedy),
        }
    }
}

impl std::fmt::Debug for Axiom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Axiom")
            .field("datasets", &self.datasets)
            .finish_non_exhaustive()
    }
}

fn edge_url(edge: &str) -> String {
    if edge.contains('.') || edge.contains(':') {
        format!("https://{edge}")
    } else {
        format!("https://{edge}.aws.edge.axiom.co")
    }
}

/// The edge for `AXIOM_URL`: the base URL of Axiom's API, which no longer accepts OTLP, or of a
/// proxy. An API host outside the default edge's region is an error, so that no data leaves its
/// region.
fn edge_for_api_url(url: &str) -> Result<Option<String>, Error> {
    let host = url.parse::<http::Uri>().ok();
    let host = host.as_ref().and_then(http::Uri::host).unwrap_or_default();
    match host.to_ascii_lowercase().as_str() {
        "api.axiom.co" | "app.axiom.co" | "cloud.axiom.co" => Ok(None),
        "api.eu.axiom.co" | "app.eu.axiom.co" => Err(Error::variable(
            "AXIOM_URL",
            format!("names `{host}`, Axiom's API, which does not accept OTLP"),
            "unset it here and set AXIOM_EDGE to the region of your organization, such as `eu-central-1`",
        )),
        _ => Ok(Some(url.to_owned())),
    }
}

fn dataset_variable(signal: Signal) -> String {
    format!("AXIOM_{}_DATASET", signal.variable())
}

/// Whether a token would cross a network unencrypted: plain HTTP to any host but this one.
fn is_unencrypted(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else {
        return true;
    };
    let host = url.host().unwrap_or_default();
    let address = without_brackets(host).parse::<IpAddr>();
    let is_local = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    url.scheme_str() == Some("http") && !is_local
}
