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
use super::state::ServerState;

/// The service of an [`HttpLayer`](crate::http::HttpLayer).
#[derive(Clone, Debug)]
pub struct HttpService<S> {
    pub(super) inner: S,
    pub(super) state: Arc<ServerState>,
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
        let mut exchange = Exchange::begin(&self.state, &mut request);
        // axum's `Route` runs no code of the service before it is polled, so entering the span for
        // the call would be wasted work. Most services are routes.
        if TypeId::of::<S>() == TypeId::of::<Route>() {
            let inner = exchange.run_outside_span(|| self.inner.call(request));
            return HttpFuture::new(exchange, is_head, inner);
        }
        HttpFuture::call_in_span(exchange, is_head, || self.inner.call(request))
    }
}
