//! A request from its arrival to the end of its response, and what is recorded of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::MatchedPath;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use opentelemetry::KeyValue;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, Tracer,
};
use tracing::Span;

use super::attributes::{self, ERROR_TYPE, RESPONSE_STATUS_CODE, Scheme};
use super::endpoint::{Endpoint, ErrorType, Found, Measured, Outcome};
use super::layer::Shared;
use super::request_id::{self, X_REQUEST_ID};
use super::{ACCESS, SPAN, body};
use crate::propagation::{Caller, Headers};

const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// A request that came in, until its response has gone out. Dropped before, it was cancelled, or
/// what handled it has panicked.
#[derive(Debug)]
pub(super) struct Exchange {
    shared: Arc<Shared>,
    endpoint: Found,
    /// OpenTelemetry's context with the request's span; none where nothing is traced.
    context: Option<opentelemetry::Context>,
    /// Whether that span is recorded.
    is_recording: bool,
    /// What the console shows of the request.
    line: Option<Box<Span>>,
    scheme: Scheme,
    version: Version,
    /// None once the response has it.
    request_id: Option<HeaderValue>,
    /// How many bytes of its body were read.
    request_size: Option<Arc<AtomicU64>>,
    response_size: u64,
    started: Instant,
    /// When the head of the response was ready, and its status.
    head: Option<(Duration, StatusCode)>,
    ended: bool,
    /// Whether the service has the control; if it is not given back, the service has panicked.
    running: bool,
}

impl Exchange {
    /// Takes note of `request`, which gets an id if it has none.
    pub(super) fn begin<B: 'static>(shared: &Arc<Shared>, request: &mut Request<B>) -> Self {
        let started = Instant::now();
        let (mut length, mut request_id) = (None, request_id::Given::default());
        let headers = Headers::of(request.headers(), |name, value| match name {
            "content-length" => length = length.or(Some(value)),
            X_REQUEST_ID => request_id.add(value),
            _ => {}
        });
        let caller = shared.propagation.caller(&headers);
        let root = match shared.options.public_endpoint {
            true => opentelemetry::Context::new(),
            false => shared.propagation.with_baggage(&headers),
        };
        let length = length.and_then(number);
        let request_id = request_id.usable();
        let request_id = request_id.unwrap_or_else(|| request_id::make(request.headers_mut()));
        let request_size = body::request_size(request, length);
        let route = request.extensions().get::<MatchedPath>();
        let endpoint = shared.endpoints.of(
            shared.methods.name(request.method()),
            route.map(MatchedPath::as_str),
        );
        let client = attributes::client(request, &shared.options);
        let (_, scheme) = client;
        shared.endpoints.active(&endpoint, scheme, 1);
        let attributes =
            || attributes::on_request(request, &endpoint, client, &request_id, &shared.options);
        let (context, is_recording) = trace(shared, &endpoint, attributes, (caller, root));
        let line = shared.shows_requests.then(|| {
            Box::new(tracing::info_span!(target: SPAN, parent: None, "request", otel.name = &*endpoint.span_name))
        });
        Self {
            shared: Arc::clone(shared),
            endpoint,
            context,
            is_recording,
            line,
            scheme,
            version: request.version(),
            request_id: Some(request_id),
            request_size,
            response_size: 0,
            started,
            head: None,
            ended: false,
            running: false,
        }
    }

    /// Runs a piece of the service inside the request's span.
    #[inline]
    pub(super) fn run<T>(&mut self, piece: impl FnOnce() -> T) -> T {
        self.running = true;
        let outcome = self.inside(piece);
        self.running = false;
        outcome
    }

    /// The same for a piece that has nothing to do with the span.
    #[inline]
    pub(super) fn run_outside<T>(&mut self, piece: impl FnOnce() -> T) -> T {
        self.running = true;
        let outcome = piece();
        self.running = false;
        outcome
    }

    /// The same for what is not the service's: what is dropped, what is said of a panic.
    #[inline]
    pub(super) fn inside<T>(&self, piece: impl FnOnce() -> T) -> T {
        let _attached = self.context.clone().map(opentelemetry::Context::attach);
        let _entered = self.line.as_deref().map(Span::enter);
        piece()
    }

    /// Whether somebody sees when the body ends.
    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        self.is_recording || self.line.is_some()
    }

    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The head of the response is ready. It gets the request's id.
    #[inline]
    pub(super) fn answered<B>(&mut self, response: &mut Response<B>) {
        let status = response.status();
        self.head = Some((self.started.elapsed(), status));
        let span = self.context.as_ref().map(TraceContextExt::span);
        if self.shared.options.answers_trace
            && let Some(span) = &span
            && let Some(header) = traceresponse(span.span_context())
        {
            response.headers_mut().insert(TRACERESPONSE, header);
        }
        if self.is_recording
            && let Some(span) = &span
        {
            let code = i64::from(status.as_u16());
            span.set_attribute(KeyValue::new(RESPONSE_STATUS_CODE, code));
            let chosen = &self.shared.options.response_headers;
            if !chosen.is_empty() {
                let mut found = Vec::new();
                attributes::headers(response.headers(), chosen, &mut found);
                span.set_attributes(found);
            }
        }
        if let Some(id) = self.request_id.take() {
            request_id::answer(response.headers_mut(), id);
        }
    }

    /// Some more bytes of the response went out.
    #[inline]
    pub(super) fn sent(&mut self, bytes: u64) -> u64 {
        self.response_size = self.response_size.saturating_add(bytes);
        self.response_size
    }

    /// The response has gone out whole.
    #[inline]
    pub(super) fn completed(&mut self) {
        let failed = self
            .head
            .is_some_and(|(_, status)| status.is_server_error());
        self.end(failed.then_some(ErrorType::Status));
    }

    /// The service or its body failed, with an error of type `error`.
    pub(super) fn failed(&mut self, error: &'static str) {
        self.end(Some(ErrorType::Named(error)));
    }

    /// The handler panicked, which is answered for it.
    pub(super) fn panicked(&mut self) {
        self.inside(|| {
            tracing::error!(
                target: SPAN,
                { "error.type" = PANIC, "http.route" = self.endpoint.route.as_deref() },
                "the handler panicked, and the request was answered with 500; where it panicked is logged before"
            );
        });
        self.end(Some(ErrorType::Named(PANIC)));
    }

    #[inline]
    fn end(&mut self, error: Option<ErrorType>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.shared
            .endpoints
            .active(&self.endpoint, self.scheme, -1);
        let outcome = Outcome {
            scheme: self.scheme,
            version: self.version,
            status: self.head.map(|(_, status)| status.as_u16()),
            error,
        };
        let duration = match self.head {
            Some((until_head, _)) => until_head,
            None => self.started.elapsed(),
        };
        if self.is_recording
            && let Some(context) = &self.context
        {
            let span = context.span();
            if let Some(error) = outcome.error_type() {
                span.set_attribute(KeyValue::new(ERROR_TYPE, error));
                // The error's type says all: by the conventions, no description then.
                span.set_status(Status::error(""));
            }
            span.end();
        }
        if let Some(line) = self.line.as_deref() {
            match (self.head, outcome.error_type()) {
                (Some((_, status)), None) => {
                    tracing::info!(target: ACCESS, parent: line, "answered {} in {duration:.1?}", status.as_str());
                }
                (Some((_, status)), Some(error)) if error == status.as_str() => {
                    tracing::info!(target: ACCESS, parent: line, "answered {error} in {duration:.1?}");
                }
                (_, error) => {
                    let error = error.unwrap_or_default();
                    tracing::info!(target: ACCESS, parent: line, "{error} after {:.1?}", self.started.elapsed());
                }
            }
        }
        let measured = Measured {
            duration,
            request_size: (self.request_size.as_ref()).map(|bytes| bytes.load(Ordering::Relaxed)),
            response_size: self.head.map(|_| self.response_size),
        };
        self.shared
            .endpoints
            .record(&self.endpoint, outcome, measured);
    }
}

const PANIC: &str = "panic";

impl Drop for Exchange {
    fn drop(&mut self) {
        let error = if self.running { PANIC } else { "cancelled" };
        self.end(Some(ErrorType::Named(error)));
    }
}

/// The request's span, in a context of its own, below what came from the caller; and whether it is
/// recorded.
#[inline]
fn trace(
    shared: &Shared,
    endpoint: &Endpoint,
    attributes: impl Fn() -> Vec<KeyValue>,
    (caller, root): (Option<Caller>, opentelemetry::Context),
) -> (Option<opentelemetry::Context>, bool) {
    let Some(tracer) = &shared.tracer else {
        // Nothing is traced here, but what came goes on to whoever is called.
        let caller = caller.filter(|_| !shared.options.public_endpoint);
        let context = match caller {
            Some(caller) => Some(root.with_remote_span_context(caller.into())),
            None => (!root.baggage().is_empty()).then_some(root),
        };
        return (context, false);
    };
    let follows = shared.sampling.follows_callers && !shared.options.public_endpoint;
    if follows && caller.as_ref().is_some_and(|it| !it.flags.is_sampled()) {
        let context = caller.map(|caller| root.with_remote_span_context(dropped(caller)));
        return (context, false);
    }
    let mut builder =
        SpanBuilder::from_name(endpoint.span_name.clone()).with_kind(SpanKind::Server);
    let (parent, likely) = match caller {
        Some(caller) if shared.options.public_endpoint => {
            builder = builder.with_links(vec![Link::with_context(caller.into())]);
            (root, shared.sampling.keeps_roots)
        }
        Some(caller) => (root.with_remote_span_context(caller.into()), follows),
        None => (root, shared.sampling.keeps_roots),
    };
    if likely {
        // They become the span's own as they are.
        builder = builder.with_attributes(attributes());
    }
    let span = tracer.build_with_context(builder, &parent);
    let is_recording = span.is_recording();
    let context = parent.with_span(span);
    if !likely && is_recording {
        context.span().set_attributes(attributes());
    }
    (Some(context), is_recording)
}

/// The span of a request that its caller did not sample: it has a number, and is not recorded.
#[inline]
fn dropped(caller: Caller) -> SpanContext {
    let span_id = SpanId::from_bytes(fastrand::u64(1..).to_be_bytes());
    SpanContext::new(caller.trace_id, span_id, caller.flags, false, caller.state)
}

fn traceresponse(span: &SpanContext) -> Option<HeaderValue> {
    let (trace, span_id) = (span.trace_id(), span.span_id());
    let text = format!("00-{trace}-{span_id}-{:02x}", span.trace_flags());
    HeaderValue::from_str(&text).ok()
}

/// The length that `headers` announce.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(number)
}

fn number(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}
