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

/// axum's router, which knows the action of every state-changing route.
///
/// It turns into axum's with [`From`]; serve it with
/// [`into_make_service_with_connect_info`](Self::into_make_service_with_connect_info), so that
/// records hold the client's address.
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
    /// No routes yet: every request is answered with 404.
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
    /// When the path is malformed or conflicts with another route.
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
    /// When the path is malformed or a route conflicts.
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
    /// When a route conflicts, or both have a fallback.
    pub fn merge(mut self, router: Self) -> Self {
        self.catalogue.extend(router.catalogue, "");
        Self {
            inner: self.inner.merge(router.inner),
            ..self
        }
    }

    /// Adds the routes of an axum router, such as a documentation page. The compiler does not
    /// know whether they change state; the [guard](crate::layer) still does.
    ///
    /// # Panics
    ///
    /// When a route conflicts, or both have a fallback.
    pub fn merge_axum(self, router: axum::Router<S>) -> Self {
        Self {
            inner: self.inner.merge(router),
            ..self
        }
    }

    /// Puts `layer` around the routes added so far, as [`axum::Router::layer`] does.
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

    /// Puts `layer` around the routes added so far, but not around the fallback, as
    /// [`axum::Router::route_layer`] does.
    ///
    /// # Panics
    ///
    /// When there is no route yet.
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

    /// Answers requests that match no route. The guard refuses a success from it where the
    /// method changes state.
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

    /// Answers requests whose route has no handler for their method.
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

    /// Gives the handlers their state.
    pub fn with_state<S2>(self, state: S) -> Router<S2>
    where
        S2: Clone + Send + Sync + 'static,
    {
        Router {
            inner: self.inner.with_state(state),
            catalogue: self.catalogue,
        }
    }

    /// Every state-changing route, with its action or with the reason why it has none.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }
}

impl Router {
    /// For `axum::serve`; records will lack the client's address.
    pub fn into_make_service(self) -> IntoMakeService<axum::Router> {
        axum::Router::from(self).into_make_service()
    }

    /// For `axum::serve`, with `C` the listener's `SocketAddr`.
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
    /// Adds what tells the guard the action of a route whose handler was never reached.
    fn from(router: Router<S>) -> Self {
        let catalogue = Arc::new(router.catalogue);
        router.inner.layer(layer_fn(move |inner| TellCatalogue {
            inner,
            catalogue: Arc::clone(&catalogue),
        }))
    }
}

/// Tells the guard about the routes, whether it is inside of this or outside.
#[derive(Clone, Debug)]
struct TellCatalogue<S> {
    inner: S,
    catalogue: Arc<Catalogue>,
}

impl<S: Service<Request>> Service<Request> for TellCatalogue<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> S::Future {
        let told = MountedCatalogue {
            catalogue: Arc::clone(&self.catalogue),
            outside: request.extensions().get::<NestedPath>().cloned(),
        };
        request.extensions_mut().insert(told);
        if let Some(Handle(audited)) = request.extensions().get::<Handle>() {
            audited.learn_route(request.extensions());
        }
        self.inner.call(request)
    }
}
