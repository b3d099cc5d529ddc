use std::borrow::Cow;

use opentelemetry::Context;
use opentelemetry::trace::{Status, TraceContextExt};
use opentelemetry_semantic_conventions::attribute as attr;
use tracing::Span;
use tracing_opentelemetry::{OpenTelemetrySpanExt, SetParentError};

use super::destination::Destination;

/// The target of the messages' `tracing` spans.
pub(crate) const MESSAGING_TARGET: &str = "platform_observability::messaging";

/// The span for sending a message, `send {destination}`, a child of the current span. Call
/// [`inject`](super::inject) inside it.
#[must_use = "the span ends when it is dropped"]
pub fn producer_span<'a>(destination: impl Into<Destination<'a>>) -> Span {
    let destination = destination.into();
    let span = tracing::info_span!(
        target: MESSAGING_TARGET,
        "send",
        otel.name = destination.span_name("send"),
        otel.kind = "producer",
    );
    destination.set_attributes(&span, "send");
    span
}

/// The span for processing a message, `process {destination}`: a child of the current span, if
/// there is one, and linked to the producer's, which [`extract`](super::extract) returned.
#[must_use = "the span ends when it is dropped"]
pub fn consumer_span<'a>(destination: impl Into<Destination<'a>>, producer: &Context) -> Span {
    let span = process_span(destination.into());
    // An invalid context is ignored.
    span.add_link(producer.span().span_context().clone());
    span
}

/// Like [`consumer_span`], but a child of the producer's span, with its baggage: for a message that
/// is processed once and immediately. Without a producer's span it starts a trace.
#[must_use = "the span ends when it is dropped"]
pub fn consumer_child_span<'a>(
    destination: impl Into<Destination<'a>>,
    producer: &Context,
) -> Span {
    let (span, _) = child_span(destination.into(), producer);
    span
}

/// Also returns whether the parent was set, which fails without an OpenTelemetry layer, and for a
/// disabled span.
pub(super) fn child_span(
    destination: Destination<'_>,
    producer: &Context,
) -> (Span, Result<(), SetParentError>) {
    let span = process_span(destination);
    let set = span.set_parent(producer.clone());
    (span, set)
}

fn process_span(destination: Destination<'_>) -> Span {
    let span = tracing::info_span!(
        target: MESSAGING_TARGET,
        "process",
        otel.name = destination.span_name("process"),
        otel.kind = "consumer",
    );
    destination.set_attributes(&span, "process");
    span
}

/// Marks a message's span as failed. `error_type` has a low cardinality, such as the name of the
/// error's Rust type or `timeout`, and contains no data.
pub fn record_error(span: &Span, error_type: impl Into<Cow<'static, str>>) {
    span.set_attribute(attr::ERROR_TYPE, error_type.into());
    // By the conventions there is no description where `error.type` suffices.
    span.set_status(Status::error(""));
}
