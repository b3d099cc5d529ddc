//! The layer that records each request that the service sends, by OpenTelemetry's stable HTTP
//! semantic conventions, client side.
//!
//! [`HttpClientLayer`] wraps any [`tower_service::Service`] of `http` requests, such as hyper-util's
//! client. Where attempts are retried or redirects followed, it belongs inside of that: then each
//! attempt is a span of its own.
//!
//! - **When a request is sent**: a client span `{method}`, or `{method} {url.template}` if the
//!   request has the extension [`UrlTemplate`], starts below the current span. A sampler is asked by
//!   that name; the attributes follow.
//! - **When the head of the response is there**: the span gets the status and ends, and
//!   `http.client.request.duration` (seconds) is recorded. Neither waits for the body. Status codes
//!   from 400 on are errors, of which `error.type` is the code. The address that answered is
//!   `network.peer.address`, where the client tells it, as hyper-util's and reqwest's do.
//! - **When there is no response**: `error.type` is the name of the error's type, without its
//!   message.
//! - **When the caller stops waiting**, as a time-out around this layer does: `cancelled`.
//! - **When the client panics**: `panic`; the panic goes on.
//!
//! # What is told to whom
//!
//! The trace's context and the baggage go only to hosts that
//! [`HttpClientLayer::propagate_to`] names, by default to none: trace ids and baggage are no
//! business of third parties. Headers that the request has already are left alone then. A client
//! below this layer that follows redirects takes the headers along, also to other hosts.
//!
//! # What is recorded
//!
//! Headers and bodies never. Of the URL in `url.full`: scheme, host, port and path as they are, so
//! keep people's data out of paths; `REDACTED:REDACTED@` for a user and password; the names of
//! query parameters, but `REDACTED` for their values. [`HttpClientLayer::record_query_values_of`]
//! and [`HttpClientLayer::record_query_values`] record values, though never those of
//! [sensitive parameters](SENSITIVE_QUERY_PARAMETERS). The fragment is left out.
//!
//! The duration has `http.request.method`, `server.address`, `server.port` and, if set, the
//! template, so a client that is told by its users whom to call makes many time series.
//!
//! # Examples
//!
//! ```
//! use http::{Request, Response};
//! use platform_observability::Telemetry;
//! use platform_observability::client::UrlTemplate;
//! use tower::{Layer, Service, ServiceExt};
//!
//! # async fn example(
//! #     telemetry: Telemetry,
//! #     client: impl Service<Request<String>, Response = Response<String>, Error = std::io::Error>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! // `client` may be hyper-util's, or whatever sends `http` requests.
//! let mut client = telemetry
//!     .client_layer()
//!     .propagate_to(["api.example.org", ".internal.example.org"])
//!     .layer(client);
//!
//! let request = Request::get("https://api.example.org/entries/7?page=2")
//!     .extension(UrlTemplate("/entries/{id}"))
//!     .body(String::new())?;
//! let response = client.ready().await?.call(request).await?;
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `reqwest-middleware` it is a middleware of [`reqwest`] clients:
//!
#![cfg_attr(feature = "reqwest-middleware", doc = "```")]
#![cfg_attr(not(feature = "reqwest-middleware"), doc = "```text")]
//! use platform_observability::Telemetry;
//! use platform_observability::client::UrlTemplate;
//!
//! # async fn example(telemetry: Telemetry) -> Result<(), Box<dyn std::error::Error>> {
//! let layer = telemetry.client_layer().propagate_to(["api.example.org"]);
//! let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
//!     .with(layer) // last, inside of what retries
//!     .build();
//!
//! let request = client.get("https://api.example.org/entries/7");
//! let response = request.with_extension(UrlTemplate("/entries/{id}")).send().await?;
//! # Ok(())
//! # }
//! ```
//!
//! reqwest follows redirects itself, so that all hops are one span with the URL of the first and the
//! peer of the last, and context meant for the first goes to the others also. Where that matters,
//! switch it off with `reqwest::redirect::Policy::none()`. `error.type` is one of `timeout`, `connect`, `redirect`,
//! `body`, `decode`, `builder`, `request`, or a status code if a middleware below makes that an
//! error; `reqwest_middleware::Error` is an error of such a middleware.

mod future;
mod hosts;
mod in_flight;
mod layer;
#[cfg(feature = "reqwest-middleware")]
mod middleware;
mod service;
mod target;
#[cfg(test)]
pub(crate) mod tests;

pub use crate::query::SENSITIVE_QUERY_PARAMETERS;
pub use future::HttpClientFuture;
pub use layer::HttpClientLayer;
pub use service::HttpClientService;

/// The target of the requests' spans.
pub(crate) const SPAN: &str = "platform_observability::client";

/// The pattern of a request's path, such as `/entries/{id}`, as an extension of the request.
///
/// It names the span and is its `url.template`, and that of the duration. It holds no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlTemplate(pub &'static str);

/// How many times this request was sent before, as an extension of the request:
/// `http.request.resend_count`, unless 0.
///
/// Whoever retries sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResendCount(pub u32);
