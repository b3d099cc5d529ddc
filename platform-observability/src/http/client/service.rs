use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::future::HttpClientFuture;
use super::in_flight::{ClientState, InFlight};
use super::target::Target;

/// The service of an [`HttpClientLayer`](crate::http::HttpClientLayer).
#[derive(Clone, Debug)]
pub struct HttpClientService<S> {
    pub(super) inner: S,
    pub(super) state: Arc<ClientState>,
}

impl<S, A, B> Service<Request<A>> for HttpClientService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = HttpClientFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let method = self.state.methods.name(request.method());
        let target = Target::of_request(&request, method);
        let (mut in_flight, injection) = InFlight::start(&self.state, &target);
        if let Some(injection) = injection {
            injection.inject_into(request.headers_mut());
        }
        let inner = in_flight.run(|| self.inner.call(request));
        HttpClientFuture::new(inner, in_flight)
    }
}
