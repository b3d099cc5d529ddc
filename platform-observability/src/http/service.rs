use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_http::HeaderExtractor;
use tower_service::Service;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::attributes::{self, Known};
use super::future::{HttpFuture, InFlight};
use super::layer::Shared;
use super::{SPAN, request_id};

/// A service whose requests are recorded. See [the module](super).
#[derive(Clone, Debug)]
pub struct HttpService<S> {
    pub(super) inner: S,
    pub(super) shared: Arc<Shared>,
}

impl<S, A, B> Service<Request<A>> for HttpService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = HttpFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let request_id = request_id::ensure(request.headers_mut());
        let known = Known::of(&request);
        let (span, context) = self.start(&request, &known, &request_id);
        let shared = Arc::clone(&self.shared);
        let mut in_flight = InFlight::new(shared, known, span, context, request_id);
        let inner = in_flight.run(|| self.inner.call(request));
        HttpFuture::new(inner, in_flight)
    }
}

impl<S> HttpService<S> {
    /// The request's span, with OpenTelemetry's context of it if it is recorded.
    fn start<B>(
        &self,
        request: &Request<B>,
        known: &Known,
        request_id: &HeaderValue,
    ) -> (Span, Option<opentelemetry::Context>) {
        let span = tracing::info_span!(
            target: SPAN,
            parent: None,
            "request",
            otel.name = &*known.span_name(),
            otel.kind = "server",
        );
        if span.is_disabled() {
            return (span, None);
        }
        let headers = HeaderExtractor(request.headers());
        let parent = self
            .shared
            .propagator
            .extract_with_context(&opentelemetry::Context::new(), &headers);
        // Without an OpenTelemetry layer there is no parent to set.
        let _ = span.set_parent(parent);
        let context = span.context();
        if !context.span().is_recording() {
            return (span, None);
        }
        let attributes = attributes::on_request(request, known, request_id);
        context.span().set_attributes(attributes);
        (span, Some(context))
    }
}
