//! HTTP instrumentation: the layers that record the requests that a service receives and sends.
//!
//! - [`HttpLayer`] records received requests, and [`TrustedProxies`] finds the client's address
//!   behind proxies.
//! - [`HttpClientLayer`] records sent requests.

mod client;
mod common;
mod server;

pub(crate) use client::CLIENT_TARGET;
#[cfg(test)]
pub(crate) use client::tests::closed_port;
pub use client::{HttpClientFuture, HttpClientLayer, HttpClientService, ResendCount, UrlTemplate};
pub use common::SENSITIVE_QUERY_PARAMETERS;
pub(crate) use common::{KnownMethods, without_brackets};
pub use ipnet::IpNet;
pub(crate) use server::{ACCESS_TARGET, SERVER_TARGET, SamplingHint};
pub use server::{ForwardedBy, HttpFuture, HttpLayer, HttpService, TrustedProxies};
