//! The state that all requests of a layer share.

use std::sync::Arc;

use http::HeaderName;

use super::proxies::TrustedProxies;
use super::route::RouteCache;
use crate::http::common::{KnownMethods, QueryRedaction};
use crate::propagation::Propagator;
use crate::tracer::Tracer;

#[derive(Clone, Debug)]
pub(super) struct ServerState {
    pub(super) routes: Arc<RouteCache>,
    /// `None` if traces are not exported.
    pub(super) tracer: Option<Tracer>,
    pub(super) propagator: Propagator,
    pub(super) sampling: SamplingHint,
    pub(super) methods: KnownMethods,
    /// Whether the console shows requests.
    pub(super) has_console: bool,
    pub(super) options: Options,
}

/// Known properties of the sampler. By default none is known, and the sampler is called for each
/// request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SamplingHint {
    /// Whether the sampler follows the caller's decision, if there is a caller.
    pub(crate) parent_based: bool,
    /// Whether the sampler samples all root spans.
    pub(crate) samples_all_roots: bool,
}

/// The settings of [`HttpLayer`](super::HttpLayer).
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) public_endpoint: bool,
    pub(super) sends_traceresponse: bool,
    pub(super) proxies: TrustedProxies,
    pub(super) query: QueryRedaction,
    /// The recorded headers, each with the name of its attribute.
    pub(super) request_headers: Vec<(HeaderName, String)>,
    pub(super) response_headers: Vec<(HeaderName, String)>,
}
