use futures_util::FutureExt;
use http::HeaderMap;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;
use tracing::Span;

use super::measured::{Instruments, process_by, send_by};
use super::{
    Destination, Headers, consumer_child_span, consumer_span, extract, failed, inject,
    process_child, producer_span,
};
use crate::propagation::Propagation;
use crate::testing::Capture;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What is captured on this thread; the propagators are those of the whole process, the same in
/// every test.
fn capture() -> Capture {
    opentelemetry::global::set_text_map_propagator(Propagation::new(true, true));
    Capture::start()
}

/// What became of the span, which ends now.
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

fn round_trip<H: Headers + Default>() {
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

/// What carries a context may not panic on what is no header, and says nothing then.
fn leaves_out_what_is_no_header<H: Headers + Default>() {
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

/// A message that is passed on keeps its headers, but not the state of the span that sent it first.
fn leaves_no_state_of_another_span<H: Headers + Default>() {
    let captured = capture();
    let mut headers = H::default();
    headers.set("tracestate", "vendor=1");
    headers.set("kept", "1");
    inject(&mut headers);
    assert_eq!(
        headers.get_all("tracestate"),
        ["vendor=1"],
        "no span is current"
    );
    let span = producer_span("entries.booked");
    span.in_scope(|| inject(&mut headers));
    ended(&captured, span);
    assert!(headers.get_all("tracestate").is_empty());
    assert_eq!(headers.get_all("kept"), ["1"]);
    assert_eq!(headers.get_all("traceparent").len(), 1);
}

#[test]
fn a_context_passes_through_the_headers_of_http() {
    round_trip::<HeaderMap>();
    leaves_out_what_is_no_header::<HeaderMap>();
    leaves_no_state_of_another_span::<HeaderMap>();
}

#[cfg(feature = "nats")]
#[test]
fn a_context_passes_through_the_headers_of_nats() {
    round_trip::<async_nats::HeaderMap>();
    leaves_out_what_is_no_header::<async_nats::HeaderMap>();
    leaves_no_state_of_another_span::<async_nats::HeaderMap>();
}

#[cfg(feature = "nats")]
#[test]
fn headers_that_are_repeated_are_all_read() {
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
fn names_are_read_in_any_case_but_exactly_first() {
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
fn what_is_malformed_or_missing_is_no_context() {
    let _captured = capture();
    let mut headers = HeaderMap::new();
    assert!(!extract(&headers).has_active_span());
    headers.insert("traceparent", "00-0-0-01".parse().unwrap());
    assert!(!extract(&headers).span().span_context().is_valid());
}

#[test]
fn without_a_span_nothing_is_written() {
    let _captured = capture();
    let mut headers = HeaderMap::new();
    inject(&mut headers);
    assert!(headers.get("traceparent").is_none(), "{headers:?}");
}

#[test]
fn sending_is_a_producer_span_by_the_conventions() {
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
fn a_template_names_the_span_and_an_inbox_does_not() {
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
fn processing_is_a_consumer_span_that_is_linked_to_the_producers() {
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
fn a_linked_span_is_below_the_current_one() {
    let captured = capture();
    let outer = tracing::info_span!("worker");
    let span = outer.in_scope(|| consumer_span("entries.booked", &received()));
    let span = ended(&captured, span);
    let outer = ended(&captured, outer);
    assert_eq!(span.parent_span_id, outer.span_context.span_id());
}

#[test]
fn processing_continues_the_producers_trace_where_that_is_asked_for() {
    let captured = capture();
    let producer = received();
    // Not below the current one then.
    let outer = tracing::info_span!("worker");
    let span = outer.in_scope(|| consumer_child_span("entries.booked", &producer));
    let inside = span.in_scope(Context::current);
    let tenant = inside.baggage().get("tenant").map(ToString::to_string);
    assert_eq!(tenant.as_deref(), Some("t1"));
    // It holds the span too.
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
async fn where_nothing_is_traced_the_producers_trace_goes_on() {
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
fn without_a_producers_context_there_is_no_link_and_no_parent() {
    let captured = capture();
    let none = Context::new();
    for make in [consumer_span, consumer_child_span] {
        let span = ended(&captured, make("entries.booked", &none));
        assert!(span.links.is_empty());
        assert_eq!(span.parent_span_id.to_string(), "0000000000000000");
    }
}

#[test]
fn a_failure_is_named_by_its_type() {
    let captured = capture();
    let span = producer_span("entries.booked");
    failed(&span, "timeout");
    let span = ended(&captured, span);
    assert_eq!(span.status, Status::error(""));
    let error = ("error.type".to_owned(), "timeout".into());
    assert!(sorted(&span).contains(&error), "{span:?}");
}

#[tokio::test]
async fn sending_and_processing_are_measured() {
    let captured = capture();
    let instruments = Instruments::new(&captured.meter());
    let destination = Destination::new("entries.7.booked").template("entries.{id}.booked");
    let sent = send_by(
        &instruments,
        destination,
        HeaderMap::new(),
        async |headers| Ok::<_, std::io::Error>(headers),
    );
    let headers = sent.await.unwrap();
    let producer = extract(&headers);
    let span = captured.span("send entries.{id}.booked");
    let told = producer.span().span_context().span_id();
    assert_eq!(
        told,
        span.0.span_context.span_id(),
        "the headers have its context"
    );
    let failing = async { Err::<(), _>(std::io::Error::other("no")) };
    let span = consumer_span(destination, &producer);
    let processed = process_by(&instruments, destination, span, failing);
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
async fn work_that_is_given_up_is_measured_as_cancelled() {
    let captured = capture();
    let instruments = Instruments::new(&captured.meter());
    let destination = Destination::new("_INBOX.x");
    let span = consumer_span(destination, &Context::new());
    let pending = std::future::pending::<Result<(), std::io::Error>>();
    let mut processed = Box::pin(process_by(&instruments, destination, span, pending));
    assert!(futures_util::poll!(&mut processed).is_pending());
    drop(processed);
    captured
        .point("messaging.process.duration")
        .has("error.type", "cancelled")
        .lacks("messaging.destination.name");
    captured.span("process").has("error.type", "cancelled");
}

#[tokio::test]
async fn work_that_panics_is_measured_as_that() {
    let captured = capture();
    let instruments = Instruments::new(&captured.meter());
    let destination = Destination::new("entries");
    let span = consumer_span(destination, &Context::new());
    let panics = async { panic!("as the test wants") };
    let processed = process_by::<(), std::io::Error>(&instruments, destination, span, panics);
    let panicked = std::panic::AssertUnwindSafe(processed).catch_unwind();
    panicked.await.unwrap_err();
    captured
        .point("messaging.process.duration")
        .has("error.type", "panic");
    captured.span("process entries").has("error.type", "panic");
}

#[tokio::test]
async fn a_server_and_a_group_are_said_where_they_are_known() {
    let captured = capture();
    let instruments = Instruments::new(&captured.meter());
    let destination = Destination::new("entries")
        .server("nats.internal", 4222)
        .consumer_group("bookers");
    let span = consumer_span(destination, &Context::new());
    process_by(&instruments, destination, span, async { Ok::<_, ()>(()) })
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
