//! The span names and bound instruments of each route, created once.

use std::borrow::Cow;
use std::hash::BuildHasher;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use foldhash::fast::FixedState;
use http::Version;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundHistogram, BoundUpDownCounter, Histogram, Meter, UpDownCounter};
use opentelemetry_semantic_conventions::attribute as attr;
use opentelemetry_semantic_conventions::metric;

use crate::http::common::{protocol_version, span_name};
use crate::instrumentation::duration_histogram;

/// How many routes, and how many outcomes of each, are cached. Requests beyond these are recorded
/// too, only slower.
const MAX_ROUTES: usize = 1024;
const MAX_OUTCOMES: usize = 64;
/// How many slots are probed for a route, as several may have the same hash.
const MAX_PROBES: usize = 32;

/// The instruments of a layer, and the routes it has seen.
#[derive(Debug)]
pub(super) struct RouteCache {
    instruments: Instruments,
    /// An open-addressing hash table that only grows, so that reads take no lock. Clients cannot
    /// provoke collisions, as routes are the service's own.
    slots: Box<[OnceLock<&'static RouteEntry>]>,
}

/// A cached route, or one beyond the cache's capacity.
#[derive(Debug)]
pub(super) enum RouteRef {
    Cached(&'static RouteEntry),
    Uncached(Box<RouteEntry>),
}

impl Deref for RouteRef {
    type Target = RouteEntry;

    fn deref(&self) -> &RouteEntry {
        match self {
            Self::Cached(route) => route,
            Self::Uncached(route) => route,
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

/// A method and a route template.
#[derive(Debug)]
pub(super) struct RouteEntry {
    pub(super) method: &'static str,
    pub(super) template: Option<Arc<str>>,
    pub(super) span_name: Cow<'static, str>,
    /// By scheme; bound on first use, as each bound instrument exports a series.
    active: [OnceLock<BoundUpDownCounter<i64>>; 2],
    /// In the order in which they first occurred; only grows.
    outcomes: Box<[OnceLock<Box<OutcomeInstruments>>]>,
}

/// The value of `url.scheme`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// How a request ended: the attributes of its metrics, besides the route's.
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
    /// The status code, which is 500 or above.
    Status,
    Named(&'static str),
}

/// The instruments bound to the attributes of one outcome.
#[derive(Debug)]
struct OutcomeInstruments {
    outcome: Outcome,
    duration: BoundHistogram<f64>,
    /// Bound on first use, as each bound instrument exports a series.
    request_size: OnceLock<BoundHistogram<u64>>,
    response_size: OnceLock<BoundHistogram<u64>>,
    attributes: Vec<KeyValue>,
}

/// The measurements of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measurement {
    pub(super) duration: Duration,
    /// In bytes, if known.
    pub(super) request_size: Option<u64>,
    pub(super) response_size: Option<u64>,
}

impl RouteCache {
    pub(super) fn new(meter: &Meter) -> Self {
        // The conventions advise no boundaries for sizes: powers of four from 64 B to 64 MiB.
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
                duration: duration_histogram(
                    meter,
                    metric::HTTP_SERVER_REQUEST_DURATION,
                    "Duration of HTTP server requests.",
                ),
                active: meter
                    .i64_up_down_counter(metric::HTTP_SERVER_ACTIVE_REQUESTS)
                    .with_unit("{request}")
                    .with_description("Number of active HTTP server requests.")
                    .build(),
                request_size: size(
                    metric::HTTP_SERVER_REQUEST_BODY_SIZE,
                    "Size of HTTP server request bodies.",
                ),
                response_size: size(
                    metric::HTTP_SERVER_RESPONSE_BODY_SIZE,
                    "Size of HTTP server response bodies.",
                ),
            },
            slots: empty_slots(MAX_ROUTES),
        }
    }

    #[inline]
    pub(super) fn get(&self, method: &'static str, template: Option<&str>) -> RouteRef {
        let hash = FixedState::default().hash_one(template);
        let [low, high, ..] = hash.to_ne_bytes();
        let first = usize::from(u16::from_ne_bytes([low, high]));
        for probe in 0..MAX_PROBES {
            let slot = &self.slots[first.wrapping_add(probe) % MAX_ROUTES];
            let route = slot.get_or_init(|| {
                // Leaked: the cache lives as long as the process, and attributes can borrow.
                let name = Cow::Borrowed(&*span_name(method, template).leak());
                Box::leak(Box::new(RouteEntry::new(method, template, name)))
            });
            if route.method == method && route.template.as_deref() == template {
                return RouteRef::Cached(route);
            }
        }
        let name = Cow::Owned(span_name(method, template));
        RouteRef::Uncached(Box::new(RouteEntry::new(method, template, name)))
    }

    /// Adds `change` (1 or -1) to the active requests of `route`.
    #[inline]
    pub(super) fn add_active(&self, route: &RouteEntry, scheme: Scheme, change: i64) {
        let active = route.active[usize::from(scheme == Scheme::Https)].get_or_init(|| {
            self.instruments.active.bind(&[
                KeyValue::new(attr::HTTP_REQUEST_METHOD, route.method),
                KeyValue::new(attr::URL_SCHEME, scheme.as_str()),
            ])
        });
        active.add(change);
    }

    /// Records the metrics of a request that has ended.
    #[inline]
    pub(super) fn record(&self, route: &RouteEntry, outcome: Outcome, measurement: Measurement) {
        let bind = || {
            let attributes = route.metric_attributes(outcome);
            OutcomeInstruments {
                outcome,
                duration: self.instruments.duration.bind(&attributes),
                request_size: OnceLock::new(),
                response_size: OnceLock::new(),
                attributes,
            }
        };
        for slot in &route.outcomes {
            let bound = slot.get_or_init(|| Box::new(bind()));
            if bound.outcome == outcome {
                return bound.record(measurement, &self.instruments);
            }
        }
        bind().record(measurement, &self.instruments);
    }
}

fn empty_slots<T>(count: usize) -> Box<[OnceLock<T>]> {
    std::iter::repeat_with(OnceLock::new).take(count).collect()
}

impl RouteEntry {
    fn new(method: &'static str, template: Option<&str>, span_name: Cow<'static, str>) -> Self {
        Self {
            method,
            template: template.map(Arc::from),
            span_name,
            active: [const { OnceLock::new() }; 2],
            outcomes: empty_slots(MAX_OUTCOMES),
        }
    }

    fn metric_attributes(&self, outcome: Outcome) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(6);
        attributes.push(KeyValue::new(attr::HTTP_REQUEST_METHOD, self.method));
        attributes.push(KeyValue::new(attr::URL_SCHEME, outcome.scheme.as_str()));
        if let Some(template) = &self.template {
            attributes.push(KeyValue::new(attr::HTTP_ROUTE, Arc::clone(template)));
        }
        if let Some(version) = protocol_version(outcome.version) {
            attributes.push(KeyValue::new(attr::NETWORK_PROTOCOL_VERSION, version));
        }
        if let Some(status) = outcome.status {
            let status = i64::from(status);
            attributes.push(KeyValue::new(attr::HTTP_RESPONSE_STATUS_CODE, status));
        }
        if let Some(error) = outcome.error_type() {
            attributes.push(KeyValue::new(attr::ERROR_TYPE, error));
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

impl OutcomeInstruments {
    #[inline]
    fn record(&self, measurement: Measurement, instruments: &Instruments) {
        self.duration.record(measurement.duration.as_secs_f64());
        for (size, bound, instrument) in [
            (
                measurement.request_size,
                &self.request_size,
                &instruments.request_size,
            ),
            (
                measurement.response_size,
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
