//! The layer that records received requests.

mod attributes;
mod exchange;
mod future;
mod layer;
mod proxies;
mod request_body;
mod request_id;
mod response_body;
mod route;
mod service;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use exchange::{ACCESS_TARGET, SERVER_TARGET};
pub use future::HttpFuture;
pub use layer::HttpLayer;
pub use proxies::{ForwardedBy, TrustedProxies};
pub use service::HttpService;
pub(crate) use state::SamplingHint;
