//! Context propagation between services: W3C Trace Context Level 2 and W3C Baggage.
//!
//! The SDK's propagators read only the first header of a name, accept keys and values that the
//! grammar forbids, and log baggage that they cannot parse. These do not.

mod baggage;
mod headers;
mod propagator;
#[cfg(test)]
mod tests;
mod trace_context;

pub(crate) use headers::ContextHeaders;
pub(crate) use propagator::{Propagator, replaces_tracestate};
pub(crate) use trace_context::TRACESTATE;
