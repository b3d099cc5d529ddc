//! Functions of the service that derive a request's actor and client address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::ConnectInfo;
use http::request::Parts;

use crate::record::Actor;

/// Derives the actor of a request that has no [`Actor`] in its extensions.
///
/// Implemented for closures. For asynchronous authentication, use a middleware that inserts an
/// [`Actor`] into the request's extensions instead.
///
/// ```
/// use http::request::Parts;
/// use platform_audit::{Actor, ActorSource};
///
/// fn job_runner(request: &Parts) -> Option<Actor> {
///     let job = request.headers.get("x-job")?.to_str().ok()?;
///     Some(Actor::service(job))
/// }
///
/// let (parts, ()) = http::Request::get("/").header("x-job", "nightly").body(()).unwrap().into_parts();
/// assert_eq!(job_runner.actor(&parts), Some(Actor::service("nightly")));
/// ```
pub trait ActorSource: Send + Sync + 'static {
    /// Returns the actor of this request, or `None` if it is not authenticated.
    fn actor(&self, request: &Parts) -> Option<Actor>;
}

impl<F: Fn(&Parts) -> Option<Actor> + Send + Sync + 'static> ActorSource for F {
    fn actor(&self, request: &Parts) -> Option<Actor> {
        self(request)
    }
}

#[derive(Clone)]
pub(crate) struct Actors(pub(crate) Arc<dyn ActorSource>);

impl std::fmt::Debug for Actors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Actors(..)")
    }
}

/// Derives the client's address of a request that came through trusted proxies.
#[derive(Clone)]
pub(crate) struct ClientAddresses(pub(crate) Arc<ClientAddressFn>);

type ClientAddressFn = dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync;

/// Returns the client's address from `source`, or else the peer's address.
pub(crate) fn client_address(source: Option<&ClientAddresses>, request: &Parts) -> Option<IpAddr> {
    let derived = source.and_then(|ClientAddresses(source)| source(request));
    let peer = || {
        let info = request.extensions.get::<ConnectInfo<SocketAddr>>();
        info.map(|ConnectInfo(peer)| peer.ip())
    };
    // A dual-stack listener reports IPv4 addresses as IPv4-mapped IPv6 addresses.
    derived.or_else(peer).map(|address| address.to_canonical())
}

impl std::fmt::Debug for ClientAddresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientAddresses(..)")
    }
}
