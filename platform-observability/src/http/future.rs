use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderValue, Response};
use pin_project_lite::pin_project;

use super::observation::Observation;
use super::request_id::REQUEST_ID;

pin_project! {
    /// The observed request's future.
    pub struct HttpFuture<F> {
        #[pin]
        inner: F,
        // Ends as cancelled, or by a panic, when the future is dropped before the response.
        observation: Observation,
        request_id: Option<HeaderValue>,
    }
}

impl<F> HttpFuture<F> {
    pub(super) fn new(inner: F, observation: Observation, request_id: HeaderValue) -> Self {
        Self {
            inner,
            observation,
            request_id: Some(request_id),
        }
    }
}

impl<F, R, E> Future for HttpFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let span = this.observation.span().clone();
        let _entered = span.enter();
        let mut ended = ready!(this.inner.poll(cx));
        match &mut ended {
            Ok(response) => {
                if let Some(id) = this.request_id.take() {
                    response.headers_mut().entry(REQUEST_ID).or_insert(id);
                }
                this.observation.responded(response.status());
            }
            Err(_) => this.observation.failed(),
        }
        Poll::Ready(ended)
    }
}

impl<F> std::fmt::Debug for HttpFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpFuture").finish_non_exhaustive()
    }
}
