use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use hyper_util::client::legacy::connect::HttpInfo;
use pin_project_lite::pin_project;

use super::in_flight::InFlight;

pin_project! {
    /// The response future of an [`HttpClientService`](crate::http::HttpClientService).
    #[derive(Debug)]
    pub struct HttpClientFuture<F> {
        // `None` once it is being dropped.
        #[pin]
        inner: Option<F>,
        in_flight: InFlight,
    }

    impl<F> PinnedDrop for HttpClientFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // The inner future's destructor belongs to the request's span.
            this.in_flight.span().in_scope(|| this.inner.set(None));
        }
    }
}

impl<F> HttpClientFuture<F> {
    pub(super) fn new(inner: F, in_flight: InFlight) -> Self {
        Self {
            inner: Some(inner),
            in_flight,
        }
    }
}

impl<F, B, E> Future for HttpClientFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            // Polled after it was dropped.
            return Poll::Pending;
        };
        let result = ready!(this.in_flight.run(|| inner.poll(cx)));
        match &result {
            Ok(response) => {
                let connected = response.extensions().get::<HttpInfo>();
                let peer = connected.map(HttpInfo::remote_addr);
                this.in_flight
                    .responded(response.status(), response.version(), peer);
            }
            Err(_) => this
                .in_flight
                .failed(Cow::Borrowed(std::any::type_name::<E>())),
        }
        Poll::Ready(result)
    }
}
