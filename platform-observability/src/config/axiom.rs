use std::collections::HashMap;

use super::{Destination, Endpoint, Environment, Signal, check_url, read};
use crate::Error;

/// Axiom's edge, where telemetry is sent unless another is named.
const DEFAULT_EDGE: &str = "us-east-1.aws.edge.axiom.co";

/// Axiom as the destination: a token, and one dataset for each signal.
///
/// Made from the environment when `AXIOM_TOKEN` is set; see [`Telemetry::init`](crate::Telemetry::init).
#[derive(Clone)]
pub struct Axiom {
    token: String,
    url: String,
    traces: String,
    metrics: String,
    logs: String,
}

impl Axiom {
    /// Axiom's edge with an API token (`xaat-…`), and the datasets `<service>-traces`,
    /// `<service>-metrics` and `<service>-logs`.
    ///
    /// # Errors
    ///
    /// When the token cannot be one: empty, personal (`xapt-…`, which the edge refuses), or
    /// with characters that no header can carry.
    pub fn new(service: &str, token: impl Into<String>) -> Result<Self, Error> {
        let token = token.into();
        let refuse = |problem: &str| {
            Err(Error::Variable {
                variable: "AXIOM_TOKEN".to_owned(),
                problem: problem.to_owned(),
                remedy: "make an API token (xaat-…) with ingest permission for the three datasets in Axiom's settings",
            })
        };
        if token.is_empty() {
            return refuse("is empty");
        }
        if token.starts_with("xapt-") {
            return refuse("is a personal token, which Axiom's edge refuses");
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("holds spaces or characters that no token has");
        }
        Ok(Self {
            token,
            url: format!("https://{DEFAULT_EDGE}"),
            traces: format!("{service}-traces"),
            metrics: format!("{service}-metrics"),
            logs: format!("{service}-logs"),
        })
    }

    /// The edge's URL, such as `https://eu-central-1.aws.edge.axiom.co`.
    #[must_use]
    pub fn with_url(mut self, url: impl Into<String>) -> Self {
        self.url = url.into().trim_end_matches('/').to_owned();
        self
    }

    /// The dataset of one signal. Axiom asks for one dataset per signal.
    #[must_use]
    pub fn with_dataset(mut self, signal: Signal, dataset: impl Into<String>) -> Self {
        *match signal {
            Signal::Traces => &mut self.traces,
            Signal::Metrics => &mut self.metrics,
            Signal::Logs => &mut self.logs,
        } = dataset.into();
        self
    }

    pub(super) fn from_environment(
        service: &str,
        environment: Environment<'_>,
    ) -> Result<Option<Self>, Error> {
        let Some(token) = read("AXIOM_TOKEN", environment) else {
            return Ok(None);
        };
        let mut axiom = Self::new(service, token)?;
        if let Some(edge) = read("AXIOM_EDGE", environment) {
            axiom.url = format!("https://{edge}");
        }
        for variable in ["AXIOM_EDGE_URL", "AXIOM_URL"] {
            // api.axiom.co is the rest of Axiom's API; telemetry is taken at the edge.
            let url = read(variable, environment).filter(|url| !url.contains("api.axiom.co"));
            if let Some(url) = url {
                check_url(variable, &url)?;
                axiom = axiom.with_url(url);
                break;
            }
        }
        for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
            let variable = format!("AXIOM_{}_DATASET", signal.variable());
            if let Some(dataset) = read(&variable, environment) {
                axiom = axiom.with_dataset(signal, dataset);
            }
        }
        Ok(Some(axiom))
    }

    pub(super) fn destination(&self, signal: Signal) -> Result<Destination, Error> {
        check_url("AXIOM_EDGE", &self.url)?;
        let (header, dataset) = match signal {
            Signal::Traces => ("x-axiom-dataset", &self.traces),
            Signal::Logs => ("x-axiom-dataset", &self.logs),
            // Another header than the others': Axiom calls mixing them up the commonest mistake.
            Signal::Metrics => ("x-axiom-metrics-dataset", &self.metrics),
        };
        if dataset.is_empty() || !dataset.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Variable {
                variable: format!("AXIOM_{}_DATASET", signal.variable()),
                problem: "is not a dataset's name".to_owned(),
                remedy: "use the name of a dataset of your organisation, without spaces",
            });
        }
        let headers = HashMap::from([
            ("authorization", format!("Bearer {}", self.token)),
            (header, dataset.clone()),
        ]);
        let url = format!("{}/v1/{}", self.url, signal.path());
        Ok(Destination::Otlp(Endpoint {
            url,
            headers,
            gzip: true,
        }))
    }
}

impl std::fmt::Debug for Axiom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Axiom")
            .field("url", &self.url)
            .field("traces", &self.traces)
            .field("metrics", &self.metrics)
            .field("logs", &self.logs)
            .finish_non_exhaustive()
    }
}
