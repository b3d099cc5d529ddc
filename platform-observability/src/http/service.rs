use std::any::TypeId;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::routing::Route;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::exchange::Exchange;
use super::future::HttpFuture;
use super::layer::Shared;

/// A service whose requests are recorded. See [the module](super).
#[derive(Clone, Debug)]
pub struct HttpService<S> {
    pub(super) inner: S,
    pub(super) shared: Arc<Shared>,
}

impl<S, A, B> Service<Request<A>> for HttpService<S>
where
    S: Service<Request<A>, Response = Response<B>> + 'static,
    A: 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<axum::body::Body>;
    type Error = S::Error;
    type Future = HttpFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let is_head = request.method() == Method::HEAD;
        let mut exchange = Exchange::begin(&self.shared, &mut request);
        // A route of axum's runs nothing of the service before it is polled: there is nothing to be
        // inside the span yet, and most services are routes.
        if TypeId::of::<S>() == TypeId::of::<Route>() {
            let inner = exchange.run_outside(|| self.inner.call(request));
            return HttpFuture::of(exchange, is_head, inner);
        }
        HttpFuture::new(exchange, is_head, || self.inner.call(request))
    }
}
