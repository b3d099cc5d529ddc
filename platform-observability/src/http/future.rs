use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{HeaderValue, Response, StatusCode};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Status, TraceContextExt};
use pin_project_lite::pin_project;
use tracing::Span;

use super::attributes::{ERROR_TYPE, Known, RESPONSE_STATUS_CODE};
use super::layer::Shared;
use super::{ACCESS, request_id};

pin_project! {
    /// The response of a [`HttpService`](super::HttpService).
    #[derive(Debug)]
    pub struct HttpFuture<F> {
        // None once it has ended.
        #[pin]
        inner: Option<F>,
        in_flight: InFlight,
    }

    impl<F> PinnedDrop for HttpFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // What is dropped with the request still belongs to it; and a span ends when it was
            // left last, which then is now.
            let _entered = this.in_flight.span.enter();
            this.inner.set(None);
        }
    }
}

impl<F> HttpFuture<F> {
    pub(super) fn new(inner: F, in_flight: InFlight) -> Self {
        Self {
            inner: Some(inner),
            in_flight,
        }
    }
}

impl<F, B, E> Future for HttpFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            // Polled after it was ready, which no future need bear.
            return Poll::Pending;
        };
        let mut result = ready!(this.in_flight.run(|| inner.poll(cx)));
        match &mut result {
            Ok(response) => this.in_flight.answered(response),
            Err(_) => this.in_flight.failed(std::any::type_name::<E>()),
        }
        Poll::Ready(result)
    }
}

/// A request that came in, until it is known what became of it.
#[derive(Debug)]
pub(super) struct InFlight {
    shared: Arc<Shared>,
    span: Span,
    /// Of the span, if it is recorded.
    context: Option<opentelemetry::Context>,
    started: Instant,
    // None once the outcome is recorded.
    pending: Option<Pending>,
    /// Whether the service has the control; if it is not given back, the service has panicked.
    running: bool,
}

#[derive(Debug)]
struct Pending {
    known: Known,
    request_id: HeaderValue,
}

impl InFlight {
    pub(super) fn new(
        shared: Arc<Shared>,
        known: Known,
        span: Span,
        context: Option<opentelemetry::Context>,
        request_id: HeaderValue,
    ) -> Self {
        Self {
            shared,
            span,
            context,
            started: Instant::now(),
            pending: Some(Pending { known, request_id }),
            running: false,
        }
    }

    /// Runs a piece of the service inside the span.
    pub(super) fn run<T>(&mut self, piece: impl FnOnce() -> T) -> T {
        let _entered = self.span.enter();
        self.running = true;
        let outcome = piece();
        self.running = false;
        outcome
    }

    fn answered<B>(&mut self, response: &mut Response<B>) {
        let Some(Pending { known, request_id }) = self.pending.take() else {
            return;
        };
        let status = response.status();
        let error = status.is_server_error().then(|| status.as_str().to_owned());
        self.record(known, Some(status), error.map(Cow::Owned));
        request_id::answer(response.headers_mut(), request_id);
    }

    fn failed(&mut self, error: &'static str) {
        if let Some(Pending { known, .. }) = self.pending.take() {
            self.record(known, None, Some(Cow::Borrowed(error)));
        }
    }

    fn record(&self, known: Known, status: Option<StatusCode>, error: Option<Cow<'static, str>>) {
        let duration = self.started.elapsed();
        let code = status.map(|status| i64::from(status.as_u16()));
        if let Some(context) = &self.context {
            let span = context.span();
            if let Some(code) = code {
                span.set_attribute(KeyValue::new(RESPONSE_STATUS_CODE, code));
            }
            if let Some(error) = &error {
                span.set_attribute(KeyValue::new(ERROR_TYPE, error.clone()));
                // The error's type says all: by the conventions, no description then.
                span.set_status(Status::error(""));
            }
        }
        if self.shared.shows_requests {
            match (status, error.as_deref()) {
                (Some(status), _) => tracing::info!(
                    target: ACCESS,
                    parent: &self.span,
                    "answered {} in {duration:.1?}",
                    status.as_str(),
                ),
                (None, error) => tracing::info!(
                    target: ACCESS,
                    parent: &self.span,
                    "{} after {duration:.1?}",
                    error.unwrap_or_default(),
                ),
            }
        }
        let attributes = known.with_outcome(code, error);
        self.shared
            .duration
            .record(duration.as_secs_f64(), &attributes);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(Pending { known, .. }) = self.pending.take() {
            let error = if self.running { "panic" } else { "cancelled" };
            self.record(known, None, Some(Cow::Borrowed(error)));
        }
    }
}
