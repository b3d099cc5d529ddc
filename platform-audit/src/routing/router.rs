use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::extract::{NestedPath, Request};
use axum::handler::Handler;
use axum::response::IntoResponse;
use axum::routing::{IntoMakeService, Route};
use tower_layer::{Layer, layer_fn};
use tower_service::Service;

use super::{Catalogue, MethodRouter};
use crate::request::{Handle, MountedCatalogue};

/// axum's `Router`, with a [catalogue](Self::catalogue) of its state-changing routes.
///
/// Convert it to axum's with [`From`], or serve it with
/// [`into_make_service_with_connect_info`](Self::into_make_service_with_connect_info), so that
/// records contain the client's address.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Router<S = ()>
where
    S: Clone + Send + Sync + 'static,
{
    inner: axum::Router<S>,
    catalogue: Catalogue,
}

impl<S> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    /// Creates a router without routes, which responds with 404 to every request.
    pub fn new() -> Self {
        Self {
            inner: axum::Router::new(),
            catalogue: Catalogue::default(),
        }
    }

    /// Adds a route, as [`axum::Router::route`] does.
    ///
    /// # Panics
    ///
    /// Panics if the path is malformed or conflicts with another route.
    pub fn route(mut self, path: &str, methods: MethodRouter<S>) -> Self {
        self.catalogue.add(path, &methods.handlers);
        Self {
            inner: self.inner.route(path, methods.inner),
            ..self
        }
    }

    /// Adds the routes of `router` under `path`, as [`axum::Router::nest`] does.
    ///
    /// # Panics
    ///
    /// Panics if the path is malformed or a route conflicts.
    pub fn nest(mut self, path: &str, router: Self) -> Self {
        self.catalogue.extend(router.catalogue, path);
        Self {
            inner: self.inner.nest(path, router.inner),
            ..self
        }
    }

    /// Adds the routes of `router`, as [`axum::Router::merge`] does.
    ///
    /// # Panics
    ///
    /// Panics if a route conflicts, or both have a fallback.
    pub fn merge(mut self, router: Self) -> Self {
        self.catalogue.extend(router.catalogue, "");
        Self {
            inner: self.inner.merge(router.inner),
            ..self
        }
    }

    /// Adds the routes of an axum router, such as a documentation page. They are not checked at
    /// compile time and not in the catalogue; the [audit layer](crate::layer) checks them at run
    /// time.
    ///
    /// # Panics
    ///
    /// Panics if a route conflicts, or both have a fallback.
    pub fn merge_axum(self, router: axum::Router<S>) -> Self {
        Self {
            inner: self.inner.merge(router),
            ..self
        }
    }

    /// Wraps the routes added so far in `layer`, as [`axum::Router::layer`] does.
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        Self {
            inner: self.inner.layer(layer),
            ..self
        }
    }

    /// Wraps the routes added so far, but not the fallback, in `layer`, as
    /// [`axum::Router::route_layer`] does.
    ///
    /// # Panics
    ///
    /// Panics if there are no routes yet.
    pub fn route_layer<L>(self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        Self {
            inner: self.inner.route_layer(layer),
            ..self
        }
    }

    /// Sets the handler for requests that match no route. The [audit layer](crate::layer) replaces
    /// its response with an error if it is a success and the method changes state.
    pub fn fallback<H, T>(self, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        Self {
            inner: self.inner.fallback(handler),
            ..self
        }
    }

    /// Sets the handler for requests whose route has no handler for their method.
    pub fn method_not_allowed_fallback<H, T>(self, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        Self {
            inner: self.inner.method_not_allowed_fallback(handler),
            ..self
        }
    }

    /// Provides the state of the handlers.
    pub fn with_state<S2>(self, state: S) -> Router<S2>
    where
        S2: Clone + Send + Sync + 'static,
    {
        Router {
            inner: self.inner.with_state(state),
            catalogue: self.catalogue,
        }
    }

    /// Returns every state-changing route with its action, or with the reason for its exemption.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }
}

impl Router {
    /// Converts to a service for `axum::serve`. Records will not contain the client's address.
    pub fn into_make_service(self) -> IntoMakeService<axum::Router> {
        axum::Router::from(self).into_make_service()
    }

    /// Converts to a service for `axum::serve`; `C` is the listener's `SocketAddr`.
    pub fn into_make_service_with_connect_info<C>(
        self,
    ) -> IntoMakeServiceWithConnectInfo<axum::Router, C> {
        axum::Router::from(self).into_make_service_with_connect_info()
    }
}

impl<S> From<Router<S>> for axum::Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    /// Adds a layer that passes the catalogue to the audit layer, which then knows the action of a
    /// route even if its handler was never called.
    fn from(router: Router<S>) -> Self {
        let catalogue = Arc::new(router.catalogue);
        router.inner.layer(layer_fn(move |inner| MountCatalogue {
            inner,
            catalogue: Arc::clone(&catalogue),
        }))
    }
}

/// Passes the catalogue to the audit layer: in the request's extensions if that is further inside,
/// and directly if it is outside.
#[derive(Clone, Debug)]
struct MountCatalogue<S> {
    inner: S,
    catalogue: Arc<Catalogue>,
}

impl<S: Service<Request>> Service<Request> for MountCatalogue<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> S::Future {
        let mounted = MountedCatalogue {
            catalogue: Arc::clone(&self.catalogue),
            outside: request.extensions().get::<NestedPath>().cloned(),
        };
        request.extensions_mut().insert(mounted);
        if let Some(Handle(audited)) = request.extensions().get::<Handle>() {
            audited.learn_route(request.extensions());
        }
        self.inner.call(request)
    }
}
