//! The layer around a service's router: one server span, one duration, one request id a request.
//!
//! Add it with `.layer(telemetry.layer())` as the **outermost** layer, so that everything else
//! runs inside the span. For each request it
//!
//! - continues the caller's trace (`traceparent`, `tracestate`, `baggage`);
//! - opens a span of kind SERVER, named `{method} {route}`, with the attributes of OpenTelemetry's
//!   stable HTTP semantic conventions, and calls and polls the service inside it, so that logs
//!   and audit records carry its ids. The query string is not recorded;
//! - keeps the request's `x-request-id` if it is at most 128 visible ASCII characters, else makes
//!   one, and returns it with the response;
//! - records `http.server.request.duration` in seconds when the response's head is ready.
//!
//! A 5xx, a panic, and a client that hung up before the response (`error.type` = `cancelled`) mark
//! span and duration; only a 5xx and a panic are errors of the server.

mod future;
mod layer;
mod observation;
mod request_id;
mod service;

pub use future::HttpFuture;
pub use layer::HttpLayer;
pub use service::HttpService;

#[cfg(test)]
mod tests;
