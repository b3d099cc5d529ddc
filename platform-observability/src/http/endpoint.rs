//! What the requests of one method and route share: names and instruments, made once.

use std::borrow::Cow;
use std::hash::BuildHasher;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use foldhash::fast::FixedState;
use http::Version;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundHistogram, BoundUpDownCounter, Histogram, Meter, UpDownCounter};

use super::attributes::{
    self, ERROR_TYPE, PROTOCOL_VERSION, REQUEST_METHOD, RESPONSE_STATUS_CODE, ROUTE, Scheme,
    URL_SCHEME,
};
use super::methods::OTHER;

/// How many endpoints, and how many outcomes of each, are kept. A router has fewer; whatever is
/// beyond is measured all the same, only slower.
const KEPT: usize = 1024;
const KEPT_OUTCOMES: usize = 64;
/// How many places are looked at for an endpoint, as those of two may be the same.
const TRIED: usize = 32;

/// The instruments of a layer, and its endpoints so far.
#[derive(Debug)]
pub(super) struct Endpoints {
    instruments: Instruments,
    /// Each at the place that its hash says, or behind it. Only ever added to, so that to read
    /// takes no lock; routes are the service's own, so that nobody else chooses the places.
    kept: Box<[OnceLock<&'static Endpoint>]>,
}

/// An endpoint that is kept, for the process's life, or one beyond those.
#[derive(Debug)]
pub(super) enum Found {
    Kept(&'static Endpoint),
    Beyond(Box<Endpoint>),
}

impl Deref for Found {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        match self {
            Self::Kept(endpoint) => endpoint,
            Self::Beyond(endpoint) => endpoint,
        }
    }
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
    /// By scheme; bound when first used: a series of zeros has its price, too.
    active: [OnceLock<BoundUpDownCounter<i64>>; 2],
    /// In the order in which they first came; only ever added to.
    outcomes: Box<[OnceLock<Box<Measures>>]>,
}

/// What became of a request, in the words of the metrics' attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) scheme: Scheme,
    pub(super) version: Version,
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
    outcome: Outcome,
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
            kept: empty(KEPT),
        }
    }

    #[inline]
    pub(super) fn of(&self, method: &'static str, route: Option<&str>) -> Found {
        let hash = FixedState::default().hash_one(route);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "any of its bits say a place"
        )]
        let first = hash as usize;
        for at in 0..TRIED {
            let place = &self.kept[first.wrapping_add(at) % KEPT];
            let endpoint = place.get_or_init(|| {
                // Leaked, as it is kept for the process's life anyway, and to borrow costs nothing.
                let name: &'static str = span_name(method, route).leak();
                Box::leak(Box::new(Endpoint::new(method, route, Cow::Borrowed(name))))
            });
            if endpoint.method == method && endpoint.route.as_deref() == route {
                return Found::Kept(endpoint);
            }
        }
        let name = span_name(method, route);
        Found::Beyond(Box::new(Endpoint::new(method, route, Cow::Owned(name))))
    }

    /// Counts one more (`1`) or one less (`-1`) request of `endpoint` as active.
    #[inline]
    pub(super) fn active(&self, endpoint: &Endpoint, scheme: Scheme, change: i64) {
        let active = endpoint.active[usize::from(scheme == Scheme::Https)].get_or_init(|| {
            self.instruments.active.bind(&[
                KeyValue::new(REQUEST_METHOD, endpoint.method),
                KeyValue::new(URL_SCHEME, scheme.as_str()),
            ])
        });
        active.add(change);
    }

    /// Counts what a request of `endpoint` came to.
    #[inline]
    pub(super) fn record(&self, endpoint: &Endpoint, outcome: Outcome, measured: Measured) {
        let make = || {
            let attributes = endpoint.attributes(outcome);
            Measures {
                outcome,
                duration: self.instruments.duration.bind(&attributes),
                request_size: OnceLock::new(),
                response_size: OnceLock::new(),
                attributes,
            }
        };
        for place in &endpoint.outcomes {
            let measures = place.get_or_init(|| Box::new(make()));
            if measures.outcome == outcome {
                return measures.record(measured, &self.instruments);
            }
        }
        make().record(measured, &self.instruments);
    }
}

fn empty<T>(places: usize) -> Box<[OnceLock<T>]> {
    std::iter::repeat_with(OnceLock::new).take(places).collect()
}

impl Endpoint {
    fn new(method: &'static str, route: Option<&str>, span_name: Cow<'static, str>) -> Self {
        Self {
            method,
            route: route.map(Arc::from),
            span_name,
            active: [const { OnceLock::new() }; 2],
            outcomes: empty(KEPT_OUTCOMES),
        }
    }

    fn attributes(&self, outcome: Outcome) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(6);
        attributes.push(KeyValue::new(REQUEST_METHOD, self.method));
        attributes.push(KeyValue::new(URL_SCHEME, outcome.scheme.as_str()));
        if let Some(route) = &self.route {
            attributes.push(KeyValue::new(ROUTE, Arc::clone(route)));
        }
        if let Some(version) = attributes::version(outcome.version) {
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
    #[inline]
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
