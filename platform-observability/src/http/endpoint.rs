//! What the requests of one method and route share: names and instruments, made once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundHistogram, BoundUpDownCounter, Histogram, Meter, UpDownCounter};

use super::attributes::{
    ERROR_TYPE, METHODS, OTHER, PROTOCOL_VERSION, REQUEST_METHOD, RESPONSE_STATUS_CODE, ROUTE,
    URL_SCHEME,
};

/// How many endpoints, and how many outcomes of each, are kept. A router has fewer; whatever is
/// beyond is measured all the same, only slower.
const KEPT: usize = 1024;
const KEPT_OUTCOMES: usize = 64;

/// The instruments of a layer, and its endpoints so far.
#[derive(Debug)]
pub(super) struct Endpoints {
    instruments: Instruments,
    /// For each method, by route; the empty route is that of requests that match none.
    known: ArcSwap<Vec<HashMap<Arc<str>, Arc<Endpoint>>>>,
}

#[derive(Debug)]
struct Instruments {
    duration: Histogram<f64>,
    active: UpDownCounter<i64>,
    request_size: Histogram<u64>,
    response_size: Histogram<u64>,
}

/// A method and a route.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) method: &'static str,
    pub(super) route: Option<Arc<str>>,
    /// `{method} {route}`, in which an unknown method is `HTTP`.
    pub(super) span_name: Cow<'static, str>,
    /// Bound when first used: a series of zeros has its price, too.
    active: [OnceLock<BoundUpDownCounter<i64>>; SCHEMES.len()],
    outcomes: ArcSwap<Vec<(Outcome, Arc<Measures>)>>,
}

const SCHEMES: [&str; 2] = ["http", "https"];

/// What became of a request, in the words of the metrics' attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) scheme: &'static str,
    pub(super) version: Option<&'static str>,
    pub(super) status: Option<u16>,
    pub(super) error: Option<ErrorType>,
}

/// The value of `error.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorType {
    /// The status code, from 500 on.
    Status,
    Named(&'static str),
}

#[derive(Debug)]
struct Measures {
    duration: BoundHistogram<f64>,
    /// Bound when first known, for the same reason.
    request_size: OnceLock<BoundHistogram<u64>>,
    response_size: OnceLock<BoundHistogram<u64>>,
    attributes: Vec<KeyValue>,
}

/// What is measured of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) duration: Duration,
    /// In bytes; `None` where it is not known.
    pub(super) request_size: Option<u64>,
    pub(super) response_size: Option<u64>,
}

impl Endpoints {
    pub(super) fn new(meter: &Meter) -> Self {
        // The boundaries that the conventions advise.
        let seconds = vec![
            0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
        ];
        // They advise none for sizes: powers of four from 64 B to 64 MiB.
        let bytes: Vec<f64> = (3..=13).map(|n| 4_f64.powi(n)).collect();
        let size = |name: &'static str, description: &'static str| {
            meter
                .u64_histogram(name)
                .with_unit("By")
                .with_description(description)
                .with_boundaries(bytes.clone())
                .build()
        };
        Self {
            instruments: Instruments {
                duration: meter
                    .f64_histogram("http.server.request.duration")
                    .with_unit("s")
                    .with_description("Duration of HTTP server requests.")
                    .with_boundaries(seconds)
                    .build(),
                active: meter
                    .i64_up_down_counter("http.server.active_requests")
                    .with_unit("{request}")
                    .with_description("Number of active HTTP server requests.")
                    .build(),
                request_size: size(
                    "http.server.request.body.size",
                    "Size of HTTP server request bodies.",
                ),
                response_size: size(
                    "http.server.response.body.size",
                    "Size of HTTP server response bodies.",
                ),
            },
            known: ArcSwap::from_pointee(vec![HashMap::new(); METHODS.len()]),
        }
    }

    pub(super) fn of(&self, method: &'static str, route: Option<&str>) -> Arc<Endpoint> {
        let at = METHODS.iter().position(|known| *known == method);
        let at = at.unwrap_or(METHODS.len() - 1);
        let key = route.unwrap_or_default();
        if let Some(endpoint) = self.known.load()[at].get(key) {
            return Arc::clone(endpoint);
        }
        let route: Option<Arc<str>> = route.map(Arc::from);
        let known = self.known.load();
        if known.iter().map(HashMap::len).sum::<usize>() >= KEPT {
            let name = span_name(method, route.as_deref());
            return Arc::new(self.endpoint(method, route, Cow::Owned(name)));
        }
        // Leaked, as it is kept for the process's life anyway, and a span borrows a name for free.
        let name: &'static str = span_name(method, route.as_deref()).leak();
        let endpoint = Arc::new(self.endpoint(method, route, Cow::Borrowed(name)));
        self.known.rcu(|known| {
            let mut known = Vec::clone(known);
            known[at].insert(Arc::from(key), Arc::clone(&endpoint));
            known
        });
        endpoint
    }

    fn endpoint(
        &self,
        method: &'static str,
        route: Option<Arc<str>>,
        span_name: Cow<'static, str>,
    ) -> Endpoint {
        Endpoint {
            method,
            route,
            span_name,
            active: [const { OnceLock::new() }; SCHEMES.len()],
            outcomes: ArcSwap::from_pointee(Vec::new()),
        }
    }

    /// Counts one more (`1`) or one less (`-1`) request of `endpoint` as active.
    pub(super) fn active(&self, endpoint: &Endpoint, scheme: &'static str, change: i64) {
        let at = usize::from(scheme == SCHEMES[1]);
        let active = endpoint.active[at].get_or_init(|| {
            self.instruments.active.bind(&[
                KeyValue::new(REQUEST_METHOD, endpoint.method),
                KeyValue::new(URL_SCHEME, scheme),
            ])
        });
        active.add(change);
    }

    /// Counts what a request of `endpoint` came to.
    pub(super) fn record(&self, endpoint: &Endpoint, outcome: Outcome, measured: Measured) {
        let known = endpoint.outcomes.load();
        if let Some((_, measures)) = known.iter().find(|(known, _)| *known == outcome) {
            return measures.record(measured, &self.instruments);
        }
        let attributes = endpoint.attributes(outcome);
        let measures = Measures {
            duration: self.instruments.duration.bind(&attributes),
            request_size: OnceLock::new(),
            response_size: OnceLock::new(),
            attributes,
        };
        measures.record(measured, &self.instruments);
        if known.len() < KEPT_OUTCOMES {
            let measures = Arc::new(measures);
            endpoint.outcomes.rcu(|known| {
                let mut known = Vec::clone(known);
                // Two may have come at once.
                if !known.iter().any(|(known, _)| *known == outcome) {
                    known.push((outcome, Arc::clone(&measures)));
                }
                known
            });
        }
    }
}

impl Endpoint {
    fn attributes(&self, outcome: Outcome) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(6);
        attributes.push(KeyValue::new(REQUEST_METHOD, self.method));
        attributes.push(KeyValue::new(URL_SCHEME, outcome.scheme));
        if let Some(route) = &self.route {
            attributes.push(KeyValue::new(ROUTE, Arc::clone(route)));
        }
        if let Some(version) = outcome.version {
            attributes.push(KeyValue::new(PROTOCOL_VERSION, version));
        }
        if let Some(status) = outcome.status {
            attributes.push(KeyValue::new(RESPONSE_STATUS_CODE, i64::from(status)));
        }
        if let Some(error) = outcome.error_type() {
            attributes.push(KeyValue::new(ERROR_TYPE, error));
        }
        attributes
    }
}

impl Outcome {
    pub(super) fn error_type(&self) -> Option<Cow<'static, str>> {
        match (self.error?, self.status) {
            (ErrorType::Named(name), _) => Some(Cow::Borrowed(name)),
            (ErrorType::Status, Some(status)) => Some(Cow::Owned(status.to_string())),
            (ErrorType::Status, None) => None,
        }
    }
}

impl Measures {
    fn record(&self, measured: Measured, instruments: &Instruments) {
        self.duration.record(measured.duration.as_secs_f64());
        for (size, bound, instrument) in [
            (
                measured.request_size,
                &self.request_size,
                &instruments.request_size,
            ),
            (
                measured.response_size,
                &self.response_size,
                &instruments.response_size,
            ),
        ] {
            if let Some(size) = size {
                let bound = bound.get_or_init(|| instrument.bind(&self.attributes));
                bound.record(size);
            }
        }
    }
}

fn span_name(method: &str, route: Option<&str>) -> String {
    let method = if method == OTHER { "HTTP" } else { method };
    match route {
        Some(route) => format!("{method} {route}"),
        None => method.to_owned(),
    }
}
