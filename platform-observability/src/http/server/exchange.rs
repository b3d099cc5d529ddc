//! One request, from its arrival to the end of its response.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::MatchedPath;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, Tracer,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_semantic_conventions::attribute as attr;

use super::attributes;
use super::request_body::{self, parse_length};
use super::request_id::{self, RequestIds, X_REQUEST_ID};
use super::route::{ErrorType, Measurement, Outcome, RouteEntry, RouteRef, Scheme};
use super::state::ServerState;
use crate::http::common::truncate;
use crate::propagation::ContextHeaders;

/// The target of the console's request spans, and of the event that logs a panic.
pub(crate) const SERVER_TARGET: &str = "platform_observability::http";

/// The target of the event by which the console learns the status of a request.
pub(crate) const ACCESS_TARGET: &str = "platform_observability::access";

const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");
const PANIC: &str = "panic";
const CANCELLED: &str = "cancelled";

/// A request whose response has not ended yet. If it is dropped before, the client has
/// disconnected, or the service has panicked.
#[derive(Debug)]
pub(super) struct Exchange {
    state: Arc<ServerState>,
    route: RouteRef,
    /// The context with the request's span; `None` if there is no trace.
    context: Option<Context>,
    /// Whether that span is recorded.
    is_recording: bool,
    /// The span that the console's layer shows.
    console_span: Option<Box<tracing::Span>>,
    scheme: Scheme,
    version: Version,
    /// `None` once it is set on the response.
    request_id: Option<HeaderValue>,
    /// How many bytes of the request's body were read.
    request_size: Option<Arc<AtomicU64>>,
    response_size: u64,
    started: Instant,
    /// The time until the response's head, and its status.
    head: Option<(Duration, StatusCode)>,
    has_ended: bool,
    /// Whether the service's code is running. If it still is at the drop, the service panicked.
    is_running: bool,
}

impl Exchange {
    /// Starts to record `request`, and gives it an id if it has none.
    pub(super) fn begin<B: 'static>(state: &Arc<ServerState>, request: &mut Request<B>) -> Self {
        let started = Instant::now();
        let (mut length, mut ids) = (None, RequestIds::default());
        let headers = ContextHeaders::scan(request.headers(), |name, value| match name {
            "content-length" => length = length.or(Some(value)),
            X_REQUEST_ID => ids.add(value),
            _ => {}
        });
        let caller = state.propagator.remote_span(&headers);
        let root = match state.options.public_endpoint {
            true => Context::new(),
            false => state.propagator.context_with_baggage(&headers),
        };
        let length = length.and_then(parse_length);
        let request_id = ids.only_valid();
        let request_id = request_id.unwrap_or_else(|| request_id::generate(request.headers_mut()));
        let request_size = request_body::count_bytes(request, length);
        let matched = request.extensions().get::<MatchedPath>();
        let route = state.routes.get(
            state.methods.name(request.method()),
            matched.map(MatchedPath::as_str),
        );
        let client = attributes::client_and_scheme(request, &state.options);
        let (_, scheme) = client;
        state.routes.add_active(&route, scheme, 1);
        let attributes = || {
            let options = &state.options;
            attributes::request_attributes(request, &route, client, &request_id, options)
        };
        let (context, is_recording) = start_span(state, &route, attributes, (caller, root));
        let console_span = state.has_console.then(|| {
            let path = truncate(attributes::original_uri(request).path());
            let method = route.method;
            Box::new(
                tracing::info_span!(target: SERVER_TARGET, parent: None, "request", method, path),
            )
        });
        Self {
            state: Arc::clone(state),
            route,
            context,
            is_recording,
            console_span,
            scheme,
            version: request.version(),
            request_id: Some(request_id),
            request_size,
            response_size: 0,
            started,
            head: None,
            has_ended: false,
            is_running: false,
        }
    }

    /// Runs code of the service inside the request's span.
    #[inline]
    pub(super) fn run<T>(&mut self, code: impl FnOnce() -> T) -> T {
        self.is_running = true;
        let output = self.in_span(code);
        self.is_running = false;
        output
    }

    /// Runs code of the service that does not need the span.
    #[inline]
    pub(super) fn run_outside_span<T>(&mut self, code: impl FnOnce() -> T) -> T {
        self.is_running = true;
        let output = code();
        self.is_running = false;
        output
    }

    /// Enters the span without marking the service's code as running.
    #[inline]
    pub(super) fn in_span<T>(&self, code: impl FnOnce() -> T) -> T {
        let _attached = self.context.clone().map(Context::attach);
        let _entered = self.console_span.as_deref().map(tracing::Span::enter);
        code()
    }

    /// Whether the span or the console records the end of the body.
    #[inline]
    pub(super) fn is_observed(&self) -> bool {
        self.is_recording || self.console_span.is_some()
    }

    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Records the response's head, and sets the request's id on it.
    #[inline]
    pub(super) fn response_started<B>(&mut self, response: &mut Response<B>) {
        let status = response.status();
        self.head = Some((self.started.elapsed(), status));
        let span = self.context.as_ref().map(TraceContextExt::span);
        if self.state.options.sends_traceresponse
            && let Some(span) = &span
            && let Some(header) = traceresponse(span.span_context())
        {
            response.headers_mut().insert(TRACERESPONSE, header);
        }
        if self.is_recording
            && let Some(span) = &span
        {
            let code = i64::from(status.as_u16());
            span.set_attribute(KeyValue::new(attr::HTTP_RESPONSE_STATUS_CODE, code));
            let recorded = &self.state.options.response_headers;
            if !recorded.is_empty() {
                let mut headers = Vec::new();
                attributes::extend_with_headers(&mut headers, response.headers(), recorded);
                span.set_attributes(headers);
            }
        }
        if let Some(id) = self.request_id.take() {
            request_id::set_on_response(response.headers_mut(), id);
        }
    }

    /// Adds to the size of the response, and returns it.
    #[inline]
    pub(super) fn bytes_sent(&mut self, bytes: u64) -> u64 {
        self.response_size = self.response_size.saturating_add(bytes);
        self.response_size
    }

    /// Ends the request after the whole response was sent.
    #[inline]
    pub(super) fn completed(&mut self) {
        let is_error = self
            .head
            .is_some_and(|(_, status)| status.is_server_error());
        self.end(is_error.then_some(ErrorType::Status));
    }

    /// Ends the request after the service or its body returned an error of the type `error`.
    pub(super) fn failed(&mut self, error: &'static str) {
        self.end(Some(ErrorType::Named(error)));
    }

    /// Ends the request after the handler panicked and the client received 500.
    pub(super) fn panicked(&mut self) {
        self.in_span(|| {
            tracing::error!(
                target: SERVER_TARGET,
                { "error.type" = PANIC, "http.route" = self.route.template.as_deref() },
                "the handler panicked, and the client received 500; the preceding log record has the panic's location"
            );
        });
        self.end(Some(ErrorType::Named(PANIC)));
    }

    #[inline]
    fn end(&mut self, error: Option<ErrorType>) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        self.state.routes.add_active(&self.route, self.scheme, -1);
        let outcome = Outcome {
            scheme: self.scheme,
            version: self.version,
            status: self.head.map(|(_, status)| status.as_u16()),
            error,
        };
        if self.is_recording
            && let Some(context) = &self.context
        {
            let span = context.span();
            if let Some(error) = outcome.error_type() {
                span.set_attribute(KeyValue::new(attr::ERROR_TYPE, error));
                // By the conventions there is no description where `error.type` suffices.
                span.set_status(Status::error(""));
            }
            span.end();
        }
        if let Some(span) = self.console_span.as_deref() {
            let (status, error) = (outcome.status, outcome.error_type());
            tracing::info!(target: ACCESS_TARGET, parent: span, status, error = error.as_deref());
        }
        let duration = match self.head {
            Some((until_head, _)) => until_head,
            None => self.started.elapsed(),
        };
        let measurement = Measurement {
            duration,
            request_size: (self.request_size.as_ref()).map(|bytes| bytes.load(Ordering::Relaxed)),
            response_size: self.head.map(|_| self.response_size),
        };
        self.state.routes.record(&self.route, outcome, measurement);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let error = if self.is_running { PANIC } else { CANCELLED };
        self.end(Some(ErrorType::Named(error)));
    }
}

/// Starts the request's span as a child of the caller's. Returns the context with that span, and
/// whether the span is recorded.
#[inline]
fn start_span(
    state: &ServerState,
    route: &RouteEntry,
    attributes: impl Fn() -> Vec<KeyValue>,
    (caller, root): (Option<SpanContext>, Context),
) -> (Option<Context>, bool) {
    let Some(tracer) = &state.tracer else {
        // Without traces, the caller's context is passed on to the services that are called.
        let caller = caller.filter(|_| !state.options.public_endpoint);
        let context = match caller {
            Some(caller) => Some(root.with_remote_span_context(caller)),
            None => (!root.baggage().is_empty()).then_some(root),
        };
        return (context, false);
    };
    let follows_caller = state.sampling.parent_based && !state.options.public_endpoint;
    if follows_caller && caller.as_ref().is_some_and(|caller| !caller.is_sampled()) {
        let context = caller.map(|caller| root.with_remote_span_context(unsampled(&caller)));
        return (context, false);
    }
    let mut builder = SpanBuilder::from_name(route.span_name.clone()).with_kind(SpanKind::Server);
    let (parent, is_likely_sampled) = match caller {
        Some(caller) if state.options.public_endpoint => {
            builder = builder.with_links(vec![Link::with_context(caller)]);
            (root, state.sampling.samples_all_roots)
        }
        Some(caller) => (root.with_remote_span_context(caller), follows_caller),
        None => (root, state.sampling.samples_all_roots),
    };
    if is_likely_sampled {
        // The builder passes the vector on without copying it.
        builder = builder.with_attributes(attributes());
    }
    let span = tracer.build_with_context(builder, &parent);
    let is_recording = span.is_recording();
    let context = parent.with_span(span);
    if !is_likely_sampled && is_recording {
        context.span().set_attributes(attributes());
    }
    (Some(context), is_recording)
}

/// The context of a request that its caller did not sample: a new span id in the caller's trace.
#[inline]
fn unsampled(caller: &SpanContext) -> SpanContext {
    let span_id = SpanId::from_bytes(fastrand::u64(1..).to_be_bytes());
    let (trace_id, flags) = (caller.trace_id(), caller.trace_flags());
    SpanContext::new(
        trace_id,
        span_id,
        flags,
        false,
        caller.trace_state().clone(),
    )
}

fn traceresponse(span: &SpanContext) -> Option<HeaderValue> {
    let (trace, span_id) = (span.trace_id(), span.span_id());
    let text = format!("00-{trace}-{span_id}-{:02x}", span.trace_flags());
    HeaderValue::from_str(&text).ok()
}
