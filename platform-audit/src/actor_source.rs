//! Who sent a request: the functions with which a service derives its actor and its client's address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::ConnectInfo;
use http::request::Parts;

use crate::record::Actor;

/// Derives the actor of a request that carries none in its extensions.
///
/// Implemented for closures. For authentication that waits for something, use a middleware that
/// inserts an [`Actor`] into the request's extensions instead.
pub trait ActorSource: Send + Sync + 'static {
    /// The actor of this request, if it can be told.
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

/// Who the client of a request is, behind the service's proxies.
#[derive(Clone)]
pub(crate) struct ClientAddresses(pub(crate) Arc<ClientAddressOf>);

type ClientAddressOf = dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync;

/// Who the client is: as `told`, else the connection's other end.
pub(crate) fn client_address(told: Option<&ClientAddresses>, request: &Parts) -> Option<IpAddr> {
    let told = told.and_then(|ClientAddresses(source)| source(request));
    let peer = || {
        let info = request.extensions.get::<ConnectInfo<SocketAddr>>();
        info.map(|ConnectInfo(peer)| peer.ip())
    };
    // A listener for both families sees IPv4 inside IPv6.
    told.or_else(peer).map(|address| address.to_canonical())
}

impl std::fmt::Debug for ClientAddresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientAddresses(..)")
    }
}
