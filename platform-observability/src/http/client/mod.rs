//! The layer that records sent requests.

mod extensions;
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

pub use extensions::{ResendCount, UrlTemplate};
pub use future::HttpClientFuture;
pub(crate) use in_flight::CLIENT_TARGET;
pub use layer::HttpClientLayer;
pub use service::HttpClientService;
