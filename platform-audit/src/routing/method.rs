use std::convert::Infallible;

use axum::extract::Request;
use axum::handler::Handler;
use axum::response::IntoResponse;
use axum::routing::{self, MethodFilter};
use tower_layer::Layer;
use tower_service::Service;

use super::AuditedHandler;
use crate::action::Declares;
use crate::action::{ANY_METHOD, DeclaredMethod};

/// The handlers of one path, by method: axum's `MethodRouter`, with the declarations of its
/// handlers.
#[derive(Clone, Debug)]
#[must_use]
pub struct MethodRouter<S = ()> {
    pub(super) inner: routing::MethodRouter<S>,
    pub(super) handlers: Vec<DeclaredMethod>,
}

impl<S> Default for MethodRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

macro_rules! safe {
    ($($method:ident: $name:literal),*) => {
        $(
            #[doc = concat!("Routes ", $name, " requests to `handler`, which needs no declaration.")]
            pub fn $method<H, T, S>(handler: H) -> MethodRouter<S>
            where
                H: Handler<T, S>,
                T: 'static,
                S: Clone + Send + Sync + 'static,
            {
                MethodRouter::new().$method(handler)
            }
        )*

        impl<S> MethodRouter<S>
        where
            S: Clone + Send + Sync + 'static,
        {$(
            #[doc = concat!("Also routes ", $name, " requests to `handler`.")]
            pub fn $method<H, T>(self, handler: H) -> Self
            where
                H: Handler<T, S>,
                T: 'static,
            {
                Self { inner: self.inner.$method(handler), ..self }
            }
        )*}
    };
}
safe!(get: "GET", head: "HEAD", options: "OPTIONS", trace: "TRACE");

macro_rules! state_changing {
    ($($method:ident: $name:literal),*) => {
        $(
            #[doc = concat!("Routes ", $name, " requests to `handler`, which must be audited or exempt.")]
            pub fn $method<H, T, S>(handler: H) -> MethodRouter<S>
            where
                H: AuditedHandler<T, S>,
                T: 'static,
                S: Clone + Send + Sync + 'static,
            {
                MethodRouter::new().$method(handler)
            }
        )*

        impl<S> MethodRouter<S>
        where
            S: Clone + Send + Sync + 'static,
        {$(
            #[doc = concat!("Also routes ", $name, " requests to `handler`, which must be audited or exempt.")]
            pub fn $method<H, T>(mut self, handler: H) -> Self
            where
                H: AuditedHandler<T, S>,
                T: 'static,
            {
                self.handlers.push(DeclaredMethod { method: $name, declaration: H::Output::DECLARATION });
                Self { inner: self.inner.$method(handler), ..self }
            }
        )*}
    };
}
state_changing!(post: "POST", put: "PUT", patch: "PATCH", delete: "DELETE");

/// Routes requests of any method to `handler`, which must be audited or exempt.
pub fn any<H, T, S>(handler: H) -> MethodRouter<S>
where
    H: AuditedHandler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    MethodRouter {
        inner: routing::any(handler),
        handlers: vec![DeclaredMethod {
            method: ANY_METHOD,
            declaration: H::Output::DECLARATION,
        }],
    }
}

/// Routes requests of the methods in `filter` to `handler`, which must be audited or exempt.
pub fn on<H, T, S>(filter: MethodFilter, handler: H) -> MethodRouter<S>
where
    H: AuditedHandler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    MethodRouter::new().on(filter, handler)
}

impl<S> MethodRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    /// Creates a router without handlers, which responds with 405 to every request.
    pub fn new() -> Self {
        Self {
            inner: routing::MethodRouter::new(),
            handlers: Vec::new(),
        }
    }

    /// Also routes requests of the methods in `filter` to `handler`, which must be audited or
    /// exempt.
    pub fn on<H, T>(mut self, filter: MethodFilter, handler: H) -> Self
    where
        H: AuditedHandler<T, S>,
        T: 'static,
    {
        for (method, name) in METHODS {
            if filter.or(method) == filter {
                self.handlers.push(DeclaredMethod {
                    method: name,
                    declaration: H::Output::DECLARATION,
                });
            }
        }
        Self {
            inner: self.inner.on(filter, handler),
            ..self
        }
    }

    /// Adds the handlers of `other`, as [`axum::routing::MethodRouter::merge`] does.
    ///
    /// # Panics
    ///
    /// Panics if both have a handler for the same method.
    pub fn merge(mut self, other: Self) -> Self {
        self.handlers.extend(other.handlers);
        Self {
            inner: self.inner.merge(other.inner),
            ..self
        }
    }

    /// Wraps the handlers added so far in `layer`.
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<routing::Route> + Clone + Send + Sync + 'static,
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
}

/// The methods that a filter can contain, including the safe ones: a handler for safe and
/// state-changing methods has an entry in the catalogue for each.
const METHODS: [(MethodFilter, &str); 9] = [
    (MethodFilter::CONNECT, "CONNECT"),
    (MethodFilter::DELETE, "DELETE"),
    (MethodFilter::GET, "GET"),
    (MethodFilter::HEAD, "HEAD"),
    (MethodFilter::OPTIONS, "OPTIONS"),
    (MethodFilter::PATCH, "PATCH"),
    (MethodFilter::POST, "POST"),
    (MethodFilter::PUT, "PUT"),
    (MethodFilter::TRACE, "TRACE"),
];
