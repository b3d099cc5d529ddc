use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, StatusCode, Version};
use opentelemetry::metrics::Histogram;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Status, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HeaderInjector;
use opentelemetry_semantic_conventions::attribute as attr;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::hosts::Hosts;
use super::target::{Host, Target};
use crate::http::common::{
    KnownMethods, QueryRedaction, address_text, peer_attributes, protocol_version,
};
use crate::propagation::{self, Propagator, TRACESTATE};

/// The target of the requests' `tracing` spans.
pub(crate) const CLIENT_TARGET: &str = "platform_observability::client";

/// The state that all requests of a layer share.
#[derive(Clone, Debug)]
pub(super) struct ClientState {
    pub(super) duration: Histogram<f64>,
    pub(super) propagator: Arc<Propagator>,
    pub(super) methods: KnownMethods,
    /// The hosts to which the context is propagated.
    pub(super) hosts: Hosts,
    pub(super) redaction: QueryRedaction,
}

/// A request that was sent, until its response or error.
#[derive(Debug)]
pub(super) struct InFlight {
    state: Arc<ClientState>,
    span: Span,
    /// The span's context, if it is recorded.
    recorded: Option<Context>,
    started: Instant,
    /// The attributes of the duration. `None` once it is recorded.
    attributes: Option<Vec<KeyValue>>,
    /// Whether the client's code is running. If it still is at the drop, the client panicked.
    is_running: bool,
}

impl InFlight {
    /// Starts to record a request. Also returns the context to inject, if its host receives it.
    pub(super) fn start<'a>(
        state: &'a Arc<ClientState>,
        target: &Target<'_>,
    ) -> (Self, Option<Injection<'a>>) {
        let started = Instant::now();
        let span = tracing::info_span!(
            target: CLIENT_TARGET,
            "request",
            otel.name = target.span_name(),
            otel.kind = "client",
        );
        let attributes = target.shared_attributes();
        let context = span.context();
        let recorded = context.span().is_recording().then(|| {
            let own = target.span_attributes(&state.redaction);
            let all = attributes.iter().cloned().chain(own);
            context.span().set_attributes(all);
            context.clone()
        });
        // A proxying service may have copied the `Host` header from its client, so only the host
        // of the URL counts.
        let propagates = match &target.host {
            Some(Host::Url(host, _)) => state.hosts.contains(host),
            Some(Host::Header(_)) | None => false,
        };
        let injection = propagates.then(|| Injection {
            propagator: &state.propagator,
            // Also the context of a request that is not recorded.
            context: span.in_scope(Context::current),
        });
        let in_flight = Self {
            state: Arc::clone(state),
            span,
            recorded,
            started,
            attributes: Some(attributes),
            is_running: false,
        };
        (in_flight, injection)
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Runs code of the client inside the span.
    pub(super) fn run<T>(&mut self, code: impl FnOnce() -> T) -> T {
        let _entered = self.span.enter();
        self.is_running = true;
        let output = code();
        self.is_running = false;
        output
    }

    /// Records the response's head. `peer` is the connection's remote end, if known.
    pub(super) fn responded(
        &mut self,
        status: StatusCode,
        version: Version,
        peer: Option<SocketAddr>,
    ) {
        if let (Some(context), Some(peer)) = (&self.recorded, peer) {
            let peer = peer_attributes(address_text(peer.ip()), peer.port());
            context.span().set_attributes(peer);
        }
        let mut outcome = Vec::with_capacity(3);
        // The response's version, as the client may have used another one than the request's.
        if let Some(version) = protocol_version(version) {
            outcome.push(KeyValue::new(attr::NETWORK_PROTOCOL_VERSION, version));
        }
        let code = i64::from(status.as_u16());
        outcome.push(KeyValue::new(attr::HTTP_RESPONSE_STATUS_CODE, code));
        let is_error = status.is_client_error() || status.is_server_error();
        let error = is_error.then(|| Cow::Owned(status.as_str().to_owned()));
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
        let is_error = error.is_some();
        outcome.extend(error.map(|error| KeyValue::new(attr::ERROR_TYPE, error)));
        if let Some(context) = self.recorded.take() {
            let span = context.span();
            span.set_attributes(outcome.iter().cloned());
            if is_error {
                // By the conventions there is no description where `error.type` suffices.
                span.set_status(Status::error(""));
            }
            // Ended explicitly: the future, or a background task of the client, may keep a handle.
            span.end();
        }
        attributes.append(&mut outcome);
        self.state
            .duration
            .record(duration.as_secs_f64(), &attributes);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let error = if self.is_running {
            "panic"
        } else {
            "cancelled"
        };
        self.failed(Cow::Borrowed(error));
    }
}

/// The context to propagate with a request.
pub(super) struct Injection<'a> {
    propagator: &'a Propagator,
    context: Context,
}

impl Injection<'_> {
    pub(super) fn inject_into(self, headers: &mut HeaderMap) {
        if propagation::replaces_tracestate(self.propagator, &self.context) {
            headers.remove(&TRACESTATE);
        }
        let mut headers = HeaderInjector(headers);
        self.propagator.inject_context(&self.context, &mut headers);
    }
}
