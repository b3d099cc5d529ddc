use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::BoxError;
use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::exchange::Exchange;
use super::response_body::{self, PROBLEM};

pin_project! {
    /// The response future of an [`HttpService`](crate::http::HttpService).
    #[derive(Debug)]
    pub struct HttpFuture<F> {
        // `None` if the service panicked before it returned a future, or once that has completed.
        #[pin]
        inner: Option<F>,
        // `None` once it has moved into the response's body.
        exchange: Option<Exchange>,
        is_head: bool,
    }

    impl<F> PinnedDrop for HttpFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // The inner future's destructor belongs to the request's span.
            match this.exchange {
                Some(exchange) => exchange.in_span(|| this.inner.set(None)),
                None => this.inner.set(None),
            }
        }
    }
}

impl<F> HttpFuture<F> {
    pub(super) fn new(exchange: Exchange, is_head: bool, inner: F) -> Self {
        Self {
            inner: Some(inner),
            exchange: Some(exchange),
            is_head,
        }
    }

    /// Calls the service inside the request's span.
    pub(super) fn call_in_span(
        exchange: Exchange,
        is_head: bool,
        call: impl FnOnce() -> F,
    ) -> Self {
        let mut this = Self {
            inner: None,
            exchange: Some(exchange),
            is_head,
        };
        if let Some(exchange) = &mut this.exchange {
            // Written in place: futures are large, and each move copies one.
            let call = AssertUnwindSafe(|| this.inner = Some(call()));
            exchange.run(|| catch_unwind(call).ok());
        }
        this
    }
}

impl<F, B, E> Future for HttpFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<axum::body::Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(exchange) = this.exchange.as_mut() else {
            // Polled after completion.
            return Poll::Pending;
        };
        let polled = exchange.run(|| {
            let inner = this.inner.as_mut().as_pin_mut()?;
            // Unwind safety: after a panic the future is dropped without being observed.
            let polled = catch_unwind(AssertUnwindSafe(|| inner.poll(cx))).ok();
            if !matches!(polled, Some(Poll::Pending)) {
                // Drop it while the span is still open.
                this.inner.set(None);
            }
            polled
        });
        if matches!(polled, Some(Poll::Pending)) {
            return Poll::Pending;
        }
        let result = match polled {
            Some(Poll::Ready(Ok(mut response))) => {
                exchange.response_started(&mut response);
                let is_head = *this.is_head;
                Ok(response_body::instrument(response, this.exchange, is_head))
            }
            Some(Poll::Ready(Err(error))) => {
                exchange.failed(std::any::type_name::<E>());
                Err(error)
            }
            Some(Poll::Pending) | None => {
                let mut response = response_body::problem();
                exchange.response_started(&mut response);
                if !*this.is_head {
                    exchange.bytes_sent(PROBLEM.len() as u64);
                }
                exchange.panicked();
                Ok(response)
            }
        };
        *this.exchange = None;
        Poll::Ready(result)
    }
}
