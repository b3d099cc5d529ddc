use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::target::Target;
use super::{HttpClientFuture, HttpClientLayer};

/// A client whose requests are recorded. See [the module](super).
#[derive(Clone, Debug)]
pub struct HttpClientService<S> {
    pub(super) inner: S,
    pub(super) layer: HttpClientLayer,
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
        let name = self.layer.method_name(request.method());
        let (mut in_flight, injection) = self.layer.start(&Target::of(&request, name));
        if let Some(injection) = injection {
            injection.into_headers(request.headers_mut());
        }
        let inner = in_flight.run(|| self.inner.call(request));
        HttpClientFuture::new(inner, in_flight)
    }
}
