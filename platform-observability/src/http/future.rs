use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::BoxError;
use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::body;
use super::exchange::Exchange;

pin_project! {
    /// The response of a [`HttpService`](super::HttpService).
    #[derive(Debug)]
    pub struct HttpFuture<F> {
        // None if the service panicked before it made one, or once it has ended.
        #[pin]
        inner: Option<F>,
        // None once the response has it.
        exchange: Option<Exchange>,
        is_head: bool,
    }

    impl<F> PinnedDrop for HttpFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // What is dropped with the request still belongs to it.
            match this.exchange {
                Some(exchange) => exchange.inside(|| this.inner.set(None)),
                None => this.inner.set(None),
            }
        }
    }
}

impl<F> HttpFuture<F> {
    /// Of a future that was made outside of the span.
    pub(super) fn of(exchange: Exchange, is_head: bool, inner: F) -> Self {
        Self {
            inner: Some(inner),
            exchange: Some(exchange),
            is_head,
        }
    }

    /// Of the future that `call` makes, inside the request's span.
    pub(super) fn new(exchange: Exchange, is_head: bool, call: impl FnOnce() -> F) -> Self {
        let mut this = Self {
            inner: None,
            exchange: Some(exchange),
            is_head,
        };
        if let Some(exchange) = &mut this.exchange {
            // Into its place at once: futures are large, and each move copies one.
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
            // Polled after it was ready, which no future need bear.
            return Poll::Pending;
        };
        let polled = exchange.run(|| {
            let inner = this.inner.as_mut().as_pin_mut()?;
            // What a panic leaves behind is dropped, and seen by nobody.
            let polled = catch_unwind(AssertUnwindSafe(|| inner.poll(cx))).ok();
            if !matches!(polled, Some(Poll::Pending)) {
                // While the span is still open.
                this.inner.set(None);
            }
            polled
        });
        if matches!(polled, Some(Poll::Pending)) {
            return Poll::Pending;
        }
        let answer = match polled {
            Some(Poll::Ready(Ok(mut response))) => {
                exchange.answered(&mut response);
                Ok(body::of_service(response, this.exchange, *this.is_head))
            }
            Some(Poll::Ready(Err(error))) => {
                exchange.failed(std::any::type_name::<E>());
                Err(error)
            }
            Some(Poll::Pending) | None => {
                let mut response = body::problem();
                exchange.answered(&mut response);
                if !*this.is_head {
                    exchange.sent(body::PROBLEM.len() as u64);
                }
                exchange.panicked();
                Ok(response)
            }
        };
        *this.exchange = None;
        Poll::Ready(answer)
    }
}
