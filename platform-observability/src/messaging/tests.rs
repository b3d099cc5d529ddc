use futures_util::FutureExt;
use http::HeaderMap;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;
use tracing::Span;

use super::operation::{Instruments, process_with, send_with};
use super::{
    Destination, MessageHeaders, consumer_child_span, consumer_span, extract, inject,
    process_child, producer_span, record_error,
};
use crate::propagation::Propagator;
use crate::testing::Capture;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Captures telemetry on this thread. The propagator is global, but the same in every test.
fn capture() -> Capture {
    opentelemetry::global::set_text_map_propagator(Propagator::new(true, true));
    Capture::start()
}

/// Ends a span, and returns it.
fn ended(capture: &Capture, span: Span) -> SpanData {
    drop(span);
    capture.spans().pop().expect("a span has ended").0
}

fn sorted(span: &SpanData) -> Vec<(String, Value)> {
    let attributes = span.attributes.iter();
    let pairs = attributes.map(|each| (each.key.to_string(), each.value.clone()));
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_by(|one, other| one.0.cmp(&other.0));
    pairs
}

fn pairs<const N: usize>(expected: [(&str, Value); N]) -> Vec<(String, Value)> {
    expected.map(|(key, value)| (key.to_owned(), value)).into()
}

fn received() -> Context {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", PARENT.parse().unwrap());
    headers.insert("baggage", "tenant=t1".parse().unwrap());
    extract(&headers)
}

fn round_trip<H: MessageHeaders + Default>() {
    let captured = capture();
    let context = Context::current().with_baggage([KeyValue::new("tenant", "t1")]);
    let attached = context.attach();
    let span = producer_span("entries.booked");
    let mut headers = H::default();
    span.in_scope(|| inject(&mut headers));
    drop(attached);
    let sent = ended(&captured, span).span_context;
    let received = extract(&headers);
    let remote = received.span().span_context().clone();
    assert!(remote.is_remote() && remote.is_sampled());
    assert_eq!(remote.trace_id(), sent.trace_id());
    assert_eq!(remote.span_id(), sent.span_id());
    let tenant = received.baggage().get("tenant").map(ToString::to_string);
    assert_eq!(tenant.as_deref(), Some("t1"));
    let names = headers.names();
    for name in ["traceparent", "baggage"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

/// Invalid headers must not panic, and are ignored.
fn ignores_invalid_headers<H: MessageHeaders + Default>() {
    let mut headers = H::default();
    for (name, value) in [
        ("a", "b\r\nc: d"),
        ("a\r\nb", "c"),
        ("", "c"),
        ("a b", "c"),
        ("a:b", "c"),
    ] {
        headers.set(name, value);
        assert!(headers.get_all(name).is_empty(), "{name:?}");
    }
    assert!(headers.names().is_empty(), "{:?}", headers.names());
    headers.set("a", "1");
    headers.set("a", "2");
    assert_eq!(headers.get_all("a"), ["2"]);
    assert_eq!(headers.names(), ["a"]);
}

/// A forwarded message keeps its headers, except for another span's `tracestate`.
fn removes_another_spans_tracestate<H: MessageHeaders + Default>() {
    let captured = capture();
    let mut headers = H::default();
    headers.set("tracestate", "vendor=1");
    headers.set("kept", "1");
    inject(&mut headers);
    assert_eq!(
        headers.get_all("tracestate"),
        ["vendor=1"],
        "there is no current span"
    );
    let span = producer_span("entries.booked");
    span.in_scope(|| inject(&mut headers));
    ended(&captured, span);
    assert!(headers.get_all("tracestate").is_empty());
    assert_eq!(headers.get_all("kept"), ["1"]);
    assert_eq!(headers.get_all("traceparent").len(), 1);
}

#[test]
fn http_headers_propagate_a_context() {
    round_trip::<HeaderMap>();
    ignores_invalid_headers::<HeaderMap>();
    removes_another_spans_tracestate::<HeaderMap>();
}

#[cfg(feature = "nats")]
#[test]
fn nats_headers_propagate_a_context() {
    round_trip::<async_nats::HeaderMap>();
    ignores_invalid_headers::<async_nats::HeaderMap>();
    removes_another_spans_tracestate::<async_nats::HeaderMap>();
}

#[cfg(feature = "nats")]
#[test]
fn all_values_of_a_repeated_header_are_read() {
    let _captured = capture();
    let mut headers = async_nats::HeaderMap::new();
    headers.append("traceparent", PARENT);
    headers.append("tracestate", "one=1");
    headers.append("tracestate", "two=2");
    let state = extract(&headers)
        .span()
        .span_context()
        .trace_state()
        .clone();
    assert_eq!(state.header(), "one=1,two=2");
    headers.append("traceparent", PARENT);
    assert!(!extract(&headers).span().span_context().is_valid());
}

#[cfg(feature = "nats")]
#[test]
fn header_names_are_case_insensitive_and_an_exact_match_takes_precedence() {
    let _captured = capture();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Traceparent", PARENT);
    let span = extract(&headers).span().span_context().span_id();
    assert_eq!(span.to_string(), "b7ad6b7169203331");
    let newer = PARENT.replace("b7ad6b7169203331", "00f067aa0ba902b7");
    headers.insert("traceparent", newer);
    let span = extract(&headers).span().span_context().span_id();
    assert_eq!(span.to_string(), "00f067aa0ba902b7");
}

#[test]
fn a_malformed_or_missing_traceparent_extracts_no_span() {
    let _captured = capture();
    let mut headers = HeaderMap::new();
    assert!(!extract(&headers).has_active_span());
    headers.insert("traceparent", "00-0-0-01".parse().unwrap());
    assert!(!extract(&headers).span().span_context().is_valid());
}

#[test]
fn without_a_span_no_traceparent_is_injected() {
    let _captured = capture();
    let mut headers = HeaderMap::new();
    inject(&mut headers);
    assert!(headers.get("traceparent").is_none(), "{headers:?}");
}

#[test]
fn a_sent_message_has_a_producer_span_by_the_conventions() {
    let captured = capture();
    let span = ended(&captured, producer_span("entries.booked"));
    assert_eq!(span.name, "send entries.booked");
    assert_eq!(span.span_kind, SpanKind::Producer);
    assert_eq!(span.status, Status::Unset);
    let expected = pairs([
        ("messaging.destination.name", "entries.booked".into()),
        ("messaging.operation.name", "send".into()),
        ("messaging.operation.type", "send".into()),
        ("messaging.system", "nats".into()),
    ]);
    assert_eq!(sorted(&span), expected);
}

#[test]
fn a_template_is_part_of_the_spans_name_and_an_inbox_is_not() {
    let captured = capture();
    let destination = Destination::new("entries.7.booked").template("entries.{id}.booked");
    let span = ended(&captured, producer_span(destination));
    assert_eq!(span.name, "send entries.{id}.booked");
    let expected = pairs([
        ("messaging.destination.name", "entries.7.booked".into()),
        (
            "messaging.destination.template",
            "entries.{id}.booked".into(),
        ),
        ("messaging.operation.name", "send".into()),
        ("messaging.operation.type", "send".into()),
        ("messaging.system", "nats".into()),
    ]);
    assert_eq!(sorted(&span), expected);
    for inbox in [
        Destination::new("_INBOX.x1"),
        Destination::new("answers.x1").temporary(),
    ] {
        let span = ended(&captured, producer_span(inbox));
        assert_eq!(span.name, "send");
        let temporary = ("messaging.destination.temporary".to_owned(), true.into());
        assert!(sorted(&span).contains(&temporary), "{span:?}");
    }
}

#[test]
fn a_processed_message_has_a_consumer_span_linked_to_the_producers() {
    let captured = capture();
    let producer = received();
    let span = ended(&captured, consumer_span("entries.booked", &producer));
    assert_eq!(span.name, "process entries.booked");
    assert_eq!(span.span_kind, SpanKind::Consumer);
    let expected = pairs([
        ("messaging.destination.name", "entries.booked".into()),
        ("messaging.operation.name", "process".into()),
        ("messaging.operation.type", "process".into()),
        ("messaging.system", "nats".into()),
    ]);
    assert_eq!(sorted(&span), expected);
    let links: Vec<_> = span.links.iter().map(|link| &link.span_context).collect();
    assert_eq!(links, [producer.span().span_context()]);
    assert_ne!(span.span_context.trace_id(), links[0].trace_id());
    assert_eq!(span.parent_span_id.to_string(), "0000000000000000");
}

#[test]
fn a_linked_consumer_span_is_a_child_of_the_current_span() {
    let captured = capture();
    let outer = tracing::info_span!("worker");
    let span = outer.in_scope(|| consumer_span("entries.booked", &received()));
    let span = ended(&captured, span);
    let outer = ended(&captured, outer);
    assert_eq!(span.parent_span_id, outer.span_context.span_id());
}

#[test]
fn a_consumer_child_span_continues_the_producers_trace() {
    let captured = capture();
    let producer = received();
    // Not a child of the current span.
    let outer = tracing::info_span!("worker");
    let span = outer.in_scope(|| consumer_child_span("entries.booked", &producer));
    let inside = span.in_scope(Context::current);
    let tenant = inside.baggage().get("tenant").map(ToString::to_string);
    assert_eq!(tenant.as_deref(), Some("t1"));
    // The context has a handle of the span.
    drop(inside);
    let span = ended(&captured, span);
    assert_eq!(span.span_kind, SpanKind::Consumer);
    assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
    assert!(span.parent_span_is_remote);
    assert_eq!(
        span.span_context.trace_id(),
        producer.span().span_context().trace_id()
    );
    assert!(span.links.is_empty());
}

#[tokio::test]
async fn without_a_subscriber_the_producers_context_is_passed_on() {
    let captured = capture();
    let _none = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
    let producer = received();
    let processed = process_child("entries.booked", &producer, async {
        let mut headers = HeaderMap::new();
        inject(&mut headers);
        Ok::<_, ()>(headers)
    });
    let headers = processed.await.unwrap();
    assert_eq!(headers["traceparent"], PARENT);
    assert_eq!(headers["baggage"], "tenant=t1");
    drop(captured);
}

#[test]
fn without_a_producers_context_a_consumer_span_has_no_link_and_no_parent() {
    let captured = capture();
    let none = Context::new();
    for make in [consumer_span, consumer_child_span] {
        let span = ended(&captured, make("entries.booked", &none));
        assert!(span.links.is_empty());
        assert_eq!(span.parent_span_id.to_string(), "0000000000000000");
    }
}

#[test]
fn a_recorded_error_sets_the_error_type_and_the_status() {
    let captured = capture();
    let span = producer_span("entries.booked");
    record_error(&span, "timeout");
    let span = ended(&captured, span);
    assert_eq!(span.status, Status::error(""));
    let error = ("error.type".to_owned(), "timeout".into());
    assert!(sorted(&span).contains(&error), "{span:?}");
}

#[tokio::test]
async fn sending_and_processing_record_their_durations() {
    let captured = capture();
    let instruments = Instruments::new(&captured.meter());
    let destination = Destination::new("entries.7.booked").template("entries.{id}.booked");
    let sent = send_with(
        &instruments,
        destination,
        HeaderMap::new(),
        async |headers| Ok::<_, std::io::Error>(headers),
    );
    let headers = sent.await.unwrap();
    let producer = extract(&headers);
    let span = captured.span("send entries.{id}.booked");
    let injected = producer.span().span_context().span_id();
    assert_eq!(
        injected,
        span.0.span_context.span_id(),
        "the headers contain its context"
    );
    let failing = async { Err::<(), _>(std::io::Error::other("no")) };
    let span = consumer_span(destination, &producer);
    let processed = process_with(&instruments, destination, span, failing);
    processed.await.unwrap_err();
    assert!(captured.span("process entries.{id}.booked").failed());

    let point = captured.point("messaging.client.sent.messages");
    point
        .has("messaging.system", "nats")
        .has("messaging.operation.name", "send")
        .has("messaging.destination.template", "entries.{id}.booked")
        .lacks("messaging.destination.name")
        .lacks("error.type");
    assert_eq!(point.sum, 1.0);
    let point = captured.point("messaging.client.operation.duration");
    point.has("messaging.operation.type", "send");
    assert_eq!((point.count, point.bounds.len()), (1, 14));
    let point = captured.point("messaging.process.duration");
    point
        .has("messaging.operation.name", "process")
        .has("error.type", "std::io::error::Error");
    assert_eq!(point.count, 1);
}

#[tokio::test]
async fn a_cancelled_operation_has_the_error_type_cancelled() {
    let captured = capture();
    let instruments = Instruments::new(&captured.meter());
    let destination = Destination::new("_INBOX.x");
    let span = consumer_span(destination, &Context::new());
    let pending = std::future::pending::<Result<(), std::io::Error>>();
    let mut processed = Box::pin(process_with(&instruments, destination, span, pending));
    assert!(futures_util::poll!(&mut processed).is_pending());
    drop(processed);
    captured
        .point("messaging.process.duration")
        .has("error.type", "cancelled")
        .lacks("messaging.destination.name");
    captured.span("process").has("error.type", "cancelled");
}

#[tokio::test]
async fn a_panicking_operation_has_the_error_type_panic() {
    let captured = capture();
    let instruments = Instruments::new(&captured.meter());
    let destination = Destination::new("entries");
    let span = consumer_span(destination, &Context::new());
    let panics = async { panic!("expected by the test") };
    let processed = process_with::<(), std::io::Error>(&instruments, destination, span, panics);
    let panicked = std::panic::AssertUnwindSafe(processed).catch_unwind();
    panicked.await.unwrap_err();
    captured
        .point("messaging.process.duration")
        .has("error.type", "panic");
    captured.span("process entries").has("error.type", "panic");
}

#[tokio::test]
async fn the_server_and_the_consumer_group_are_recorded_if_set() {
    let captured = capture();
    let instruments = Instruments::new(&captured.meter());
    let destination = Destination::new("entries")
        .server("nats.internal", 4222)
        .consumer_group("bookers");
    let span = consumer_span(destination, &Context::new());
    process_with(&instruments, destination, span, async { Ok::<_, ()>(()) })
        .await
        .unwrap();
    captured
        .point("messaging.process.duration")
        .has("server.address", "nats.internal")
        .has("server.port", 4222)
        .has("messaging.consumer.group.name", "bookers");
    captured
        .span("process entries")
        .has("server.address", "nats.internal")
        .has("server.port", 4222)
        .has("messaging.consumer.group.name", "bookers");
}
