use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::future::HttpFuture;
use super::layer::Shared;
use super::observation::Observation;
use super::request_id;

/// The [observation of HTTP requests](crate::http) around `S`.
#[derive(Clone, Debug)]
pub struct HttpService<S> {
    pub(super) inner: S,
    pub(super) shared: Arc<Shared>,
}

impl<S, B, R> Service<Request<B>> for HttpService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = HttpFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let request_id = request_id::take_or_make(request.headers_mut());
        let observation = Observation::begin(Arc::clone(&self.shared), &request, &request_id);
        // Handlers may do work before they are first polled.
        let inner = observation.span().in_scope(|| self.inner.call(request));
        HttpFuture::new(inner, observation, request_id)
    }
}
