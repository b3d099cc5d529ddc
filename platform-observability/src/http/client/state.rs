//! What all requests of a layer share.

use std::sync::Arc;

use opentelemetry::metrics::Histogram;

use super::hosts::Hosts;
use crate::http::common::{KnownMethods, QueryRedaction};
use crate::propagation::Propagator;

#[derive(Clone, Debug)]
pub(super) struct ClientState {
    pub(super) duration: Histogram<f64>,
    pub(super) propagator: Arc<Propagator>,
    pub(super) methods: KnownMethods,
    /// The hosts to which the context is propagated.
    pub(super) hosts: Hosts,
    pub(super) redaction: QueryRedaction,
}
