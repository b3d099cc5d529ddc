//! The layer that records each request, by OpenTelemetry's stable HTTP semantic conventions.
//!
//! It belongs outside of all other layers and inside of axum's routing, that is in
//! `Router::layer`, called last: there it knows the route. Requests that match no route, and
//! services that have none, are recorded without `http.route`. It belongs there once: below a router
//! that has it, another one would record each of its requests a second time.
//!
//! - **When the request arrives**: a server span `{method} {route}` starts, below the span that the
//!   `traceparent` header names, or, for a [public endpoint](HttpLayer::public_endpoint), linked to
//!   it. The request keeps its `x-request-id` if that is up to 128 visible ASCII characters, and
//!   gets a UUID otherwise. `http.server.active_requests` counts it.
//! - **While it is handled**, and while its body is made: the span is the current one for
//!   OpenTelemetry, and so the parent of `tracing`'s spans and what its events belong to. To add
//!   to it: `opentelemetry::trace::get_active_span(|span| span.set_attribute(…))`.
//! - **When the head of the response is ready**: it gets the request's `x-request-id`, and, if
//!   [asked for](HttpLayer::answer_trace_id), `traceresponse`.
//! - **When the body has gone out**: the span ends, and the metrics are recorded:
//!   `http.server.request.duration` (seconds), `http.server.request.body.size` and
//!   `http.server.response.body.size` (bytes as they went by, before any outer compression).
//!   Status codes from 500 on are errors, and so is a body that fails (`error.type` is then the
//!   error's Rust type).
//! - **When the handler panics**: the client gets 500 as problem+json (RFC 9457), the log an
//!   error, span and metrics the `error.type` `panic`. A body that panics cuts the connection.
//! - **When the client hangs up**, before the head or in the middle of the body: the `error.type`
//!   is `cancelled`.
//!
//! The duration is the time until the head of the response, the span's is that until its end. So
//! a stream of events that stays open for hours, or a slow client's download, does not spoil the
//! latencies; it is counted once it ends, and is an active request until then.
//!
//! A request that is neither traced nor shown on the console, and whose response is in memory as a
//! whole, ends with the head: nobody would see the difference, and it costs less.
//!
//! Of the query only the names are recorded, and the values that are
//! [named](HttpLayer::record_query_values_of); of headers `User-Agent`, the request's id and those
//! that are [named](HttpLayer::record_request_headers). Of what a client chooses no attribute is
//! longer than 4 KiB: the rest is left out.
//!
//! How much of a request's body was read is known where it is axum's, as in a `Router`.

pub(crate) mod attributes;
mod body;
mod endpoint;
mod exchange;
mod future;
mod layer;
mod methods;
mod proxies;
mod request_id;
mod service;
#[cfg(test)]
mod tests;

pub use future::HttpFuture;
pub use ipnet::IpNet;
pub use layer::HttpLayer;
pub(crate) use layer::Sampling;
pub(crate) use methods::{Methods, OTHER};
pub use proxies::{ForwardedBy, TrustedProxies};
pub use service::HttpService;

/// The target of the requests' spans.
pub(crate) const SPAN: &str = "platform_observability::http";

/// The target of the line that the console shows for each request.
pub(crate) const ACCESS: &str = "platform_observability::access";
