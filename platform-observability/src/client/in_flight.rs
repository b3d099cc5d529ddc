use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{StatusCode, Version};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Status, TraceContextExt};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::SPAN;
use super::layer::Shared;
use super::target::Target;
use crate::http::attributes::{self, ERROR_TYPE, PROTOCOL_VERSION, RESPONSE_STATUS_CODE};

/// A request that was sent, until it is known what became of it.
#[derive(Debug)]
pub(super) struct InFlight {
    shared: Arc<Shared>,
    span: Span,
    /// Of the span, if it is recorded.
    recorded: Option<opentelemetry::Context>,
    started: Instant,
    /// Of the duration. None once the outcome is recorded.
    attributes: Option<Vec<KeyValue>>,
    /// Whether the client has the control; if it is not given back, the client has panicked.
    running: bool,
}

impl InFlight {
    pub(super) fn start(shared: Arc<Shared>, target: &Target<'_>) -> Self {
        let started = Instant::now();
        let span = tracing::info_span!(
            target: SPAN,
            "request",
            otel.name = target.span_name(),
            otel.kind = "client",
        );
        let attributes = target.shared_attributes();
        let context = span.context();
        let recorded = context.span().is_recording().then(|| {
            let own = target.span_attributes(&shared.redaction);
            let all = attributes.iter().cloned().chain(own);
            context.span().set_attributes(all);
            context.clone()
        });
        Self {
            shared,
            span,
            recorded,
            started,
            attributes: Some(attributes),
            running: false,
        }
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// OpenTelemetry's context of the request, also of one that is not recorded.
    pub(super) fn context(&self) -> opentelemetry::Context {
        self.span.in_scope(opentelemetry::Context::current)
    }

    /// Runs a piece of the client inside the span.
    pub(super) fn run<T>(&mut self, piece: impl FnOnce() -> T) -> T {
        let _entered = self.span.enter();
        self.running = true;
        let outcome = piece();
        self.running = false;
        outcome
    }

    /// The head of the response is there, which came from `peer`, as far as the client tells.
    pub(super) fn answered(
        &mut self,
        status: StatusCode,
        version: Version,
        peer: Option<SocketAddr>,
    ) {
        if let (Some(context), Some(peer)) = (&self.recorded, peer) {
            let peer = attributes::of_peer(attributes::text(peer.ip()), peer.port());
            context.span().set_attributes(peer);
        }
        let mut outcome = Vec::with_capacity(3);
        // The version that was spoken, not the one that was asked for.
        if let Some(version) = attributes::version(version) {
            outcome.push(KeyValue::new(PROTOCOL_VERSION, version));
        }
        let code = i64::from(status.as_u16());
        outcome.push(KeyValue::new(RESPONSE_STATUS_CODE, code));
        let failed = status.is_client_error() || status.is_server_error();
        let error = failed.then(|| Cow::Owned(status.as_str().to_owned()));
        self.record(outcome, error);
    }

    pub(super) fn failed(&mut self, error: Cow<'static, str>) {
        self.record(Vec::with_capacity(1), Some(error));
    }

    fn record(&mut self, mut outcome: Vec<KeyValue>, error: Option<Cow<'static, str>>) {
        let Some(mut attributes) = self.attributes.take() else {
            return;
        };
        let duration = self.started.elapsed();
        let failed = error.is_some();
        outcome.extend(error.map(|error| KeyValue::new(ERROR_TYPE, error)));
        if let Some(context) = self.recorded.take() {
            let span = context.span();
            span.set_attributes(outcome.iter().cloned());
            if failed {
                // The error's type says all: by the conventions, no description then.
                span.set_status(Status::error(""));
            }
            // Here and not when the last handle of it is gone: the future may be kept, and what
            // the client does in the background may hold a handle.
            span.end();
        }
        attributes.append(&mut outcome);
        self.shared
            .duration
            .record(duration.as_secs_f64(), &attributes);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let error = if self.running { "panic" } else { "cancelled" };
        self.failed(Cow::Borrowed(error));
    }
}
