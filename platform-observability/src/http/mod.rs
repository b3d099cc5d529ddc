//! The layer that records each request, by OpenTelemetry's stable HTTP semantic conventions.
//!
//! It belongs outside of all other layers and inside of axum's routing, that is in
//! `Router::layer`, called last: there it knows the route. Requests that match no route, and
//! services that have none, are recorded without `http.route`.
//!
//! - **When the request arrives**: a server span `{method} {route}` starts, below the span that the
//!   `traceparent` header names. The request keeps its `x-request-id` if that is up to 128 visible
//!   ASCII characters, and gets a UUID otherwise.
//! - **While it is handled**: the span is the current one, for `tracing` and for OpenTelemetry.
//! - **When the head of the response is ready**: the span gets the status and ends;
//!   `http.server.request.duration` (seconds) is recorded; the response gets the request's
//!   `x-request-id`. Status codes from 500 on are errors. The body may still be on its way.
//! - **When the handler panics**: the span and the duration get `error.type` `panic`; the panic
//!   goes on.
//! - **When the client hangs up**, and the server drops the request: likewise, with `cancelled`.
//!
//! Neither the query nor headers are recorded, but for `User-Agent` and the request id.

pub(crate) mod attributes;
mod future;
mod layer;
mod request_id;
mod service;
#[cfg(test)]
mod tests;

pub use future::HttpFuture;
pub use layer::HttpLayer;
pub use service::HttpService;

/// The target of the requests' spans.
pub(crate) const SPAN: &str = "platform_observability::http";

/// The target of the line that the console shows for each request.
pub(crate) const ACCESS: &str = "platform_observability::access";
