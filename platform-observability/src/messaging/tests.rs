use http::HeaderMap;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, TracerProvider};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::Span;
use tracing_subscriber::layer::SubscriberExt;

use super::{
    Destination, Headers, consumer_child_span, consumer_span, extract, failed, inject,
    producer_span,
};
use crate::propagation::Propagation;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// An exporter in memory for this thread, and the propagators of the whole process, which are the
/// same in every test.
struct Observed {
    spans: InMemorySpanExporter,
    _scope: tracing::subscriber::DefaultGuard,
}

impl Observed {
    fn new() -> Self {
        let propagator = Propagation::new(true, true);
        opentelemetry::global::set_text_map_propagator(propagator);
        let spans = InMemorySpanExporter::default();
        let tracer = SdkTracerProvider::builder()
            .with_simple_exporter(spans.clone())
            .build();
        let traces = tracing_opentelemetry::layer()
            .with_tracer(tracer.tracer("test"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        let subscriber = tracing_subscriber::registry().with(traces);
        let _scope = tracing::subscriber::set_default(subscriber);
        Self { spans, _scope }
    }

    /// What became of the span, which ends.
    fn ended(&self, span: Span) -> SpanData {
        drop(span);
        let mut spans = self.spans.get_finished_spans().unwrap();
        assert_eq!(spans.len(), 1, "{spans:#?}");
        self.spans.reset();
        spans.remove(0)
    }
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
    let observed = Observed::new();
    let context = Context::current().with_baggage([KeyValue::new("tenant", "t1")]);
    let attached = context.attach();
    let span = producer_span("entries.booked");
    let mut headers = H::default();
    span.in_scope(|| inject(&mut headers));
    drop(attached);
    let sent = observed.ended(span).span_context;
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
        assert_eq!(headers.get(name), None, "{name:?}");
    }
    assert!(headers.names().is_empty(), "{:?}", headers.names());
    headers.set("a", "1");
    headers.set("a", "2");
    assert_eq!(headers.get("a"), Some("2"));
    assert_eq!(headers.names(), ["a"]);
}

#[test]
fn a_context_passes_through_the_headers_of_http() {
    round_trip::<HeaderMap>();
    leaves_out_what_is_no_header::<HeaderMap>();
}

#[cfg(feature = "nats")]
#[test]
fn a_context_passes_through_the_headers_of_nats() {
    round_trip::<async_nats::HeaderMap>();
    leaves_out_what_is_no_header::<async_nats::HeaderMap>();
}

#[cfg(feature = "nats")]
#[test]
fn names_are_read_in_any_case_but_exactly_first() {
    let _observed = Observed::new();
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
    let _observed = Observed::new();
    let mut headers = HeaderMap::new();
    assert!(!extract(&headers).has_active_span());
    headers.insert("traceparent", "00-0-0-01".parse().unwrap());
    assert!(!extract(&headers).span().span_context().is_valid());
}

#[test]
fn without_a_span_nothing_is_written() {
    let _observed = Observed::new();
    let mut headers = HeaderMap::new();
    inject(&mut headers);
    assert!(headers.get("traceparent").is_none(), "{headers:?}");
}

#[test]
fn sending_is_a_producer_span_by_the_conventions() {
    let observed = Observed::new();
    let span = observed.ended(producer_span("entries.booked"));
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
    let observed = Observed::new();
    let destination = Destination::new("entries.7.booked").template("entries.{id}.booked");
    let span = observed.ended(producer_span(destination));
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
        let span = observed.ended(producer_span(inbox));
        assert_eq!(span.name, "send");
        let temporary = ("messaging.destination.temporary".to_owned(), true.into());
        assert!(sorted(&span).contains(&temporary), "{span:?}");
    }
}

#[test]
fn processing_is_a_consumer_span_that_is_linked_to_the_producers() {
    let observed = Observed::new();
    let producer = received();
    let span = observed.ended(consumer_span("entries.booked", &producer));
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
    let observed = Observed::new();
    let outer = tracing::info_span!("worker");
    let span = outer.in_scope(|| consumer_span("entries.booked", &received()));
    let span = observed.ended(span);
    let outer = observed.ended(outer);
    assert_eq!(span.parent_span_id, outer.span_context.span_id());
}

#[test]
fn processing_continues_the_producers_trace_where_that_is_asked_for() {
    let observed = Observed::new();
    let producer = received();
    // Not below the current one then.
    let outer = tracing::info_span!("worker");
    let span = outer.in_scope(|| consumer_child_span("entries.booked", &producer));
    let inside = span.in_scope(Context::current);
    let tenant = inside.baggage().get("tenant").map(ToString::to_string);
    assert_eq!(tenant.as_deref(), Some("t1"));
    // It holds the span too.
    drop(inside);
    let span = observed.ended(span);
    assert_eq!(span.span_kind, SpanKind::Consumer);
    assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
    assert!(span.parent_span_is_remote);
    assert_eq!(
        span.span_context.trace_id(),
        producer.span().span_context().trace_id()
    );
    assert!(span.links.is_empty());
}

#[test]
fn without_a_producers_context_there_is_no_link_and_no_parent() {
    let observed = Observed::new();
    let none = Context::new();
    for make in [consumer_span, consumer_child_span] {
        let span = observed.ended(make("entries.booked", &none));
        assert!(span.links.is_empty());
        assert_eq!(span.parent_span_id.to_string(), "0000000000000000");
    }
}

#[test]
fn a_failure_is_named_by_its_type() {
    let observed = Observed::new();
    let span = producer_span("entries.booked");
    failed(&span, "timeout");
    let span = observed.ended(span);
    assert_eq!(span.status, Status::error(""));
    let error = ("error.type".to_owned(), "timeout".into());
    assert!(sorted(&span).contains(&error), "{span:?}");
}
