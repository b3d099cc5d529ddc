use std::net::IpAddr;

use http::{HeaderName, HeaderValue};

use super::otlp::{TIMEOUT, compression};
use super::tls::Tls;
use super::{Compression, Destination, Endpoint, Signal, URL_REMEDY, Variables, base_url_problem};
use crate::Error;

/// Axiom as the destination: a token, an edge, and one dataset for each signal.
///
/// Made from the environment where `AXIOM_TOKEN` is set: see
/// [`Telemetry::init`](crate::Telemetry::init). What is wrong with it is said at `init`.
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
    url_variable: &'static str,
    datasets: [Option<String>; 3],
    /// The names of the settings, for messages.
    from_environment: bool,
}

impl Axiom {
    /// Axiom's edge in us-east-1, with an API token (`xaat-…`; the edge refuses personal tokens,
    /// `xapt-…`), and the datasets `<service>-traces`, `<service>-metrics` and `<service>-logs`.
    pub fn new(token: impl Into<String>) -> Self {
        Self {
            token: token.into(),
            url: edge_url("us-east-1"),
            url_variable: "AXIOM_EDGE_URL",
            datasets: [None, None, None],
            from_environment: false,
        }
    }

    /// Another edge: its region, such as `eu-central-1`, or its host name.
    pub fn edge(mut self, edge: &str) -> Self {
        self.url = edge_url(edge);
        self
    }

    /// Another edge by its whole base URL.
    pub fn edge_url(mut self, url: impl Into<String>) -> Self {
        self.url = url.into();
        self
    }

    /// The dataset of one signal. Axiom asks for a dataset of its own for each.
    pub fn dataset(mut self, signal: Signal, dataset: impl Into<String>) -> Self {
        self.datasets[signal as usize] = Some(dataset.into());
        self
    }

    pub(super) fn from_environment(variables: Variables<'_>) -> Result<Option<Self>, Error> {
        let Some(token) = variables.read("AXIOM_TOKEN")? else {
            return Ok(None);
        };
        let mut axiom = Self::new(token);
        axiom.from_environment = true;
        let edge = variables.read("AXIOM_EDGE")?;
        let edge_url = variables.read("AXIOM_EDGE_URL")?;
        if edge.is_none()
            && edge_url.is_none()
            && let Some(url) = variables.read("AXIOM_URL")?
        {
            axiom.url = by_api_url(&url)?.unwrap_or(axiom.url);
            axiom.url_variable = "AXIOM_URL";
        }
        if let Some(edge) = edge {
            axiom.url_variable = "AXIOM_EDGE";
            axiom = axiom.edge(&edge);
        }
        if let Some(url) = edge_url {
            axiom.url_variable = "AXIOM_EDGE_URL";
            axiom = axiom.edge_url(url);
        }
        for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
            if let Some(dataset) = variables.read(&dataset_variable(signal))? {
                axiom = axiom.dataset(signal, dataset);
            }
        }
        Ok(Some(axiom))
    }

    pub(super) fn destination(
        &self,
        service: &str,
        signal: Signal,
        variables: Variables<'_>,
    ) -> Result<Destination, Error> {
        let dataset = match &self.datasets[signal as usize] {
            Some(dataset) => dataset.clone(),
            None => format!("{service}-{signal}"),
        };
        let authorization = self.authorization()?;
        let url = self.url.trim_end_matches('/');
        let problem = base_url_problem(url)
            .or_else(|| in_clear(url).then_some("would send the token unencrypted"));
        if let Some(problem) = problem {
            let variable = self.url_variable.to_owned();
            return Err(self.wrong(variable, "Axiom::edge", problem, URL_REMEDY));
        }
        let name = match signal {
            Signal::Traces | Signal::Logs => "x-axiom-dataset",
            // Axiom's documentation calls mixing the two up the commonest mistake.
            Signal::Metrics => "x-axiom-metrics-dataset",
        };
        let visible = !dataset.is_empty() && dataset.bytes().all(|byte| byte.is_ascii_graphic());
        let value = HeaderValue::from_str(&dataset).ok().filter(|_| visible);
        let value = value.ok_or_else(|| {
            self.wrong(
                dataset_variable(signal),
                "Axiom::dataset",
                "is not a dataset's name",
                "use the name of one of your datasets, in ASCII and without spaces",
            )
        })?;
        Ok(Destination::Otlp(Endpoint {
            url: format!("{url}/v1/{signal}"),
            headers: vec![
                (http::header::AUTHORIZATION, authorization),
                (HeaderName::from_static(name), value),
            ],
            compression: compression(signal, variables)?.unwrap_or(Compression::Gzip),
            timeout: TIMEOUT,
            // Its certificates are those of the public authorities.
            tls: Tls::default(),
        }))
    }

    fn authorization(&self) -> Result<HeaderValue, Error> {
        let problem = if self.token.starts_with("xapt-") {
            "is a personal token, which Axiom's edge refuses"
        } else if self.token.is_empty() || !self.token.bytes().all(|b| b.is_ascii_graphic()) {
            "is not a token"
        } else if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", self.token)) {
            value.set_sensitive(true);
            return Ok(value);
        } else {
            "is not a token"
        };
        Err(self.wrong(
            "AXIOM_TOKEN".to_owned(),
            "Axiom::new",
            problem,
            "make an API token (xaat-…) that may ingest into the three datasets, in Axiom's settings",
        ))
    }

    fn wrong(
        &self,
        variable: String,
        setting: &'static str,
        problem: &str,
        remedy: &'static str,
    ) -> Error {
        let problem = problem.to_owned();
        if self.from_environment {
            Error::Variable {
                variable,
                problem,
                remedy,
            }
        } else {
            Error::Setting {
                setting,
                problem,
                remedy,
            }
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

/// `AXIOM_URL` is the base of Axiom's whole API, which takes no OTLP any more: its edges do. So it
/// counts only where it names another host, such as a proxy. An error where the edge that belongs
/// to it is not the default one, lest data leave its region.
fn by_api_url(url: &str) -> Result<Option<String>, Error> {
    let host = url.parse::<http::Uri>().ok();
    let host = host.as_ref().and_then(http::Uri::host).unwrap_or_default();
    match host.to_ascii_lowercase().as_str() {
        "api.axiom.co" | "app.axiom.co" | "cloud.axiom.co" => Ok(None),
        "api.eu.axiom.co" | "app.eu.axiom.co" => Err(Error::Variable {
            variable: "AXIOM_URL".to_owned(),
            problem: format!("names `{host}`, Axiom's API, which takes no OTLP"),
            remedy: "unset it here and set AXIOM_EDGE to the region of your organization, such as `eu-central-1`",
        }),
        _ => Ok(Some(url.to_owned())),
    }
}

fn dataset_variable(signal: Signal) -> String {
    format!("AXIOM_{}_DATASET", signal.variable())
}

/// Whether a token would go over a network unencrypted: plain HTTP, but to this host.
fn in_clear(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else {
        return true;
    };
    let host = url.host().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    url.scheme_str() == Some("http") && !here
}
