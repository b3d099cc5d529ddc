//! Injecting and extracting trace context and baggage is a round trip, for generated contexts.

use std::collections::{BTreeMap, HashMap};

use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use platform_observability::testing::Capture;
use proptest::prelude::*;

type Headers = HashMap<String, String>;

fn inject(context: &Context) -> Headers {
    let mut headers = Headers::new();
    let propagator = Capture::start().propagator();
    propagator.inject_context(context, &mut headers);
    headers
}

fn extract(headers: &Headers) -> Context {
    let propagator = Capture::start().propagator();
    propagator.extract_with_context(&Context::new(), headers)
}

/// The propagated parts of a context.
fn contents(context: &Context) -> (SpanContext, BTreeMap<String, (String, String)>) {
    let span = context.span().span_context().clone();
    let baggage = context.baggage().iter().map(|(key, (value, properties))| {
        let text = (value.to_string(), properties.as_str().to_owned());
        (key.to_string(), text)
    });
    (span, baggage.collect())
}

fn state() -> impl Strategy<Value = TraceState> {
    let value = "[!-+\\--<>-~]([ -+\\--<>-~]{0,20}[!-+\\--<>-~])?";
    let members = prop::collection::hash_map("[a-z][a-z0-9_*/-]{0,20}", value, 0..32);
    members.prop_map(|members| TraceState::from_key_value(members).unwrap())
}

fn span() -> impl Strategy<Value = SpanContext> {
    let parts = (1..=u128::MAX, 1..=u64::MAX, 0..=3_u8, state());
    parts.prop_map(|(trace, span, flags, state)| {
        let (trace, span) = (TraceId::from(trace), SpanId::from(span));
        SpanContext::new(trace, span, TraceFlags::new(flags), true, state)
    })
}

proptest! {
    #[test]
    fn injected_context_is_extracted(
        span in span(),
        baggage in prop::collection::btree_map("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,10}", ".{0,20}", 0..10),
    ) {
        let pairs = baggage.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        let sent = Context::new()
            .with_remote_span_context(span.clone())
            .with_baggage(pairs);
        let headers = inject(&sent);
        let expected = baggage
            .iter()
            .map(|(key, value)| (key.clone(), (value.clone(), String::new())))
            .collect();
        prop_assert_eq!(contents(&extract(&headers)), (span, expected), "{:?}", headers);
    }

    /// Malformed headers may be dropped, but are never changed into others.
    #[test]
    fn extracted_context_is_injected_unchanged(
        traceparent in "(0[0-1]|ff|cc)-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-x)?",
        tracestate in "[a-z0-9@=, \t!\"-]{0,60}",
        baggage in "[a-z0-9=,; %\t\"\u{e9}]{0,60}",
    ) {
        let headers = [("traceparent", traceparent), ("tracestate", tracestate), ("baggage", baggage)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        let received = extract(&headers);
        let passed_on = extract(&inject(&received));
        prop_assert_eq!(contents(&passed_on), contents(&received), "{:?}", headers);
    }
}
