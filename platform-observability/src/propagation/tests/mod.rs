//! The cases of the W3C recommendations.

mod baggage;

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry_http::HeaderExtractor;

use super::{ContextHeaders, Propagator};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let lines = lines.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
    });
    lines.collect()
}

/// `key=value;properties` of each member, sorted.
fn members(context: &Context) -> Vec<String> {
    let members = context.baggage().into_iter();
    let members = members.map(|(key, (value, properties))| {
        format!("{key}={}|{}", value.as_str(), properties.as_str())
    });
    let mut members: Vec<_> = members.collect();
    members.sort();
    members
}

/// Extracts the context of `lines` in both ways: by the scan of headers, and by the SDK's trait.
#[track_caller]
fn extract(case: &str, lines: &[(&str, &str)]) -> Context {
    let headers = headers(lines);
    let propagator = Propagator::new(true, true);
    let found = ContextHeaders::scan(&headers, |_, _| {});
    let mut scanned = propagator.context_with_baggage(&found);
    if let Some(caller) = propagator.remote_span(&found) {
        scanned = scanned.with_remote_span_context(caller);
    }
    let extracted = propagator.extract_with_context(&Context::new(), &HeaderExtractor(&headers));
    assert_eq!(
        scanned.span().span_context(),
        extracted.span().span_context(),
        "{case}"
    );
    assert_eq!(members(&scanned), members(&extracted), "{case}");
    scanned
}

#[test]
fn traceparent_is_parsed_by_the_recommendation() {
    let good = &format!("00-{TRACE}-{SPAN}-01");
    let later = |version: &str, rest: &str| format!("{version}-{TRACE}-{SPAN}-01{rest}");
    // With the flags, if it is accepted.
    type Case<'a> = (&'a str, Vec<(&'a str, String)>, Option<u8>);
    let cases: Vec<Case<'_>> = vec![
        ("missing", vec![], None),
        ("valid", vec![("traceparent", good.clone())], Some(1)),
        (
            "header name in upper case",
            vec![("TRACEPARENT", good.clone())],
            Some(1),
        ),
        (
            "header name in mixed case",
            vec![("TraceParent", good.clone())],
            Some(1),
        ),
        (
            "header name with a hyphen",
            vec![("trace-parent", good.clone())],
            None,
        ),
        (
            "header name with an underscore",
            vec![("trace_parent", good.clone())],
            None,
        ),
        ("empty", vec![("traceparent", String::new())], None),
        (
            "two of the same",
            vec![("traceparent", good.clone()), ("traceparent", good.clone())],
            None,
        ),
        (
            "two different, one invalid",
            vec![("traceparent", good.clone()), ("traceparent", "x".into())],
            None,
        ),
        (
            "two in one line",
            vec![("traceparent", format!("{good},{good}"))],
            None,
        ),
        (
            "spaces around",
            vec![("traceparent", format!(" {good}\t"))],
            Some(1),
        ),
        (
            "a space inside",
            vec![("traceparent", format!("00 -{TRACE}-{SPAN}-01"))],
            None,
        ),
        (
            "version 00 with a suffix",
            vec![("traceparent", later("00", "-what"))],
            None,
        ),
        (
            "version 00 with a trailing hyphen",
            vec![("traceparent", later("00", "-"))],
            None,
        ),
        (
            "version 00 with a dot suffix",
            vec![("traceparent", later("00", ".x"))],
            None,
        ),
        (
            "version cc",
            vec![("traceparent", later("cc", ""))],
            Some(1),
        ),
        (
            "version cc with a suffix",
            vec![("traceparent", later("cc", "-what-the-future-will-be-like"))],
            Some(1),
        ),
        (
            "version cc with a dot suffix",
            vec![("traceparent", later("cc", ".what"))],
            None,
        ),
        ("version ff", vec![("traceparent", later("ff", ""))], None),
        (
            "version in upper case",
            vec![("traceparent", later("CC", ""))],
            None,
        ),
        (
            "version of letters",
            vec![("traceparent", later("zz", ""))],
            None,
        ),
        (
            "version too short",
            vec![("traceparent", later("0", ""))],
            None,
        ),
        (
            "version too long",
            vec![("traceparent", later("000", ""))],
            None,
        ),
        (
            "trace-id of zeros",
            vec![("traceparent", format!("00-{:032}-{SPAN}-01", 0))],
            None,
        ),
        (
            "trace-id in upper case",
            vec![(
                "traceparent",
                format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            )],
            None,
        ),
        (
            "parent-id in upper case",
            vec![(
                "traceparent",
                format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            )],
            None,
        ),
        (
            "flags in upper case",
            vec![("traceparent", format!("00-{TRACE}-{SPAN}-0B"))],
            None,
        ),
        (
            "trace-id with a dot",
            vec![("traceparent", format!("00-.{}-{SPAN}-01", &TRACE[1..]))],
            None,
        ),
        (
            "trace-id too short",
            vec![("traceparent", format!("00-{}-{SPAN}-01", &TRACE[1..]))],
            None,
        ),
        (
            "trace-id too long",
            vec![("traceparent", format!("00-{TRACE}0-{SPAN}-01"))],
            None,
        ),
        (
            "parent-id of zeros",
            vec![("traceparent", format!("00-{TRACE}-{:016}-01", 0))],
            None,
        ),
        (
            "parent-id with a dot",
            vec![("traceparent", format!("00-{TRACE}-.{}-01", &SPAN[1..]))],
            None,
        ),
        (
            "parent-id too short",
            vec![("traceparent", format!("00-{TRACE}-{}-01", &SPAN[1..]))],
            None,
        ),
        (
            "parent-id too long",
            vec![("traceparent", format!("00-{TRACE}-{SPAN}0-01"))],
            None,
        ),
        (
            "trace-flags of dots",
            vec![("traceparent", format!("00-{TRACE}-{SPAN}-.0"))],
            None,
        ),
        (
            "trace-flags too short",
            vec![("traceparent", format!("00-{TRACE}-{SPAN}-1"))],
            None,
        ),
        (
            "trace-flags too long",
            vec![("traceparent", format!("00-{TRACE}-{SPAN}-001"))],
            None,
        ),
        (
            "trace-flags missing",
            vec![("traceparent", format!("00-{TRACE}-{SPAN}"))],
            None,
        ),
        (
            "not sampled",
            vec![("traceparent", format!("00-{TRACE}-{SPAN}-00"))],
            Some(0),
        ),
        (
            "random",
            vec![("traceparent", format!("00-{TRACE}-{SPAN}-02"))],
            Some(2),
        ),
        (
            "sampled and random",
            vec![("traceparent", format!("00-{TRACE}-{SPAN}-03"))],
            Some(3),
        ),
        (
            "unknown flags",
            vec![("traceparent", format!("00-{TRACE}-{SPAN}-ff"))],
            Some(3),
        ),
        (
            "not ASCII",
            vec![("traceparent", format!("00-{TRACE}-{SPAN}-0é"))],
            None,
        ),
        (
            "multi-byte at the boundary",
            vec![("traceparent", format!("00-{TRACE}-{SPAN}-{}", 'é'))],
            None,
        ),
    ];
    assert!(cases.len() >= 41);
    for (case, lines, flags) in &cases {
        let lines: Vec<_> = lines
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let context = extract(case, &lines);
        let span = context.span().span_context().clone();
        let Some(flags) = flags else {
            assert!(!span.is_valid(), "{case}: {span:?}");
            continue;
        };
        assert_eq!(span.trace_id().to_string(), TRACE, "{case}");
        assert_eq!(span.span_id().to_string(), SPAN, "{case}");
        assert_eq!(span.trace_flags().to_u8(), *flags, "{case}");
        assert!(span.is_remote(), "{case}");
    }
}

#[test]
fn tracestate_is_parsed_and_propagated_by_the_recommendation() {
    let longest_key = "k".repeat(256);
    let longest_value = "v".repeat(256);
    let members = |count: usize| {
        let members = (0..count).map(|n| format!("k{n}=v"));
        members.collect::<Vec<_>>().join(",")
    };
    let all_keys = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
    let all_values = "!\"#$%&'()*+-./0123456789:;<>?@ABCXYZ[\\]^_`abcxyz{|}~";
    // With the propagated tracestate.
    let cases: Vec<(&str, Vec<String>, &str)> = vec![
        ("missing", vec![], ""),
        ("one", vec!["foo=1".into()], "foo=1"),
        (
            "several in a line",
            vec!["foo=1,bar=2".into()],
            "foo=1,bar=2",
        ),
        (
            "several lines are one",
            vec!["foo=1,bar=2".into(), "baz=3".into()],
            "foo=1,bar=2,baz=3",
        ),
        ("empty", vec![String::new()], ""),
        (
            "an empty line between",
            vec!["foo=1".into(), String::new(), "bar=2".into()],
            "foo=1,bar=2",
        ),
        (
            "empty members",
            vec!["foo=1, ,,bar=2,".into()],
            "foo=1,bar=2",
        ),
        (
            "whitespace around members",
            vec!["foo=1 \t , \t bar=2\t".into()],
            "foo=1,bar=2",
        ),
        (
            "whitespace in a value",
            vec!["foo=  1 2".into()],
            "foo=  1 2",
        ),
        ("duplicate keys", vec!["foo=1,foo=2".into()], ""),
        (
            "duplicate keys of two lines",
            vec!["foo=1".into(), "foo=1".into()],
            "",
        ),
        (
            "all characters of a key",
            vec![format!("{all_keys}=1")],
            "abcdefghijklmnopqrstuvwxyz0123456789_-*/=1",
        ),
        (
            "a tenant",
            vec!["a-0*/_@a-0*/_=1".into()],
            "a-0*/_@a-0*/_=1",
        ),
        (
            "a key that begins with a digit",
            vec!["0foo=1".into()],
            "0foo=1",
        ),
        (
            "all characters of a value",
            vec![format!("a={all_values}")],
            "a=!\"#$%&'()*+-./0123456789:;<>?@ABCXYZ[\\]^_`abcxyz{|}~",
        ),
        // Level 2 allows these keys, the SDK's type does not; the others are propagated.
        (
            "a tenant of a system with a long name",
            vec!["foo=1,tenant@a-long-system-name=1,bar=2".into()],
            "foo=1,bar=2",
        ),
        (
            "a key with two @",
            vec!["foo=1,a@b@c=1".into(), "bar=2".into()],
            "foo=1,bar=2",
        ),
        ("_ after @", vec!["a@_b=1,foo=1".into()], "foo=1"),
        ("only keys that the SDK rejects", vec!["a@b@c=1".into()], ""),
        ("a space before =", vec!["foo =1".into()], ""),
        ("a key in upper case", vec!["FOO=1".into()], ""),
        ("a key with a dot", vec!["foo.bar=1".into()], ""),
        ("a key that begins with @", vec!["@foo=1".into()], ""),
        ("a key that begins with _", vec!["_foo=1".into()], ""),
        ("no key", vec!["=1".into()], ""),
        ("no value", vec!["foo=".into()], ""),
        ("no =", vec!["foo".into()], ""),
        ("two =", vec!["foo=1=2".into()], ""),
        ("a value that is not ASCII", vec!["foo=é".into()], ""),
        ("a tab in a value", vec!["foo=1\t2".into()], ""),
        ("one bad member among good", vec!["foo=1,bar".into()], ""),
        ("the longest key", vec![format!("{longest_key}=1")], ""),
        (
            "a key that is too long",
            vec![format!("k{longest_key}=1")],
            "",
        ),
        (
            "the longest value",
            vec![format!("foo={longest_value}")],
            "",
        ),
        (
            "a value that is too long",
            vec![format!("foo={longest_value}v")],
            "",
        ),
        ("32 members", vec![members(32)], ""),
        ("33 members", vec![members(33)], ""),
        (
            "33 members in two lines",
            vec![members(32), "last=1".into()],
            "",
        ),
    ];
    for (case, lines, expected) in &cases {
        // In these cases the whole tracestate is propagated.
        let whole = matches!(
            *case,
            "the longest key" | "the longest value" | "32 members"
        );
        let expected = if whole { lines[0].as_str() } else { expected };
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let mut all = vec![("traceparent", parent.as_str())];
        all.extend(lines.iter().map(|line| ("tracestate", line.as_str())));
        let context = extract(case, &all);
        assert!(
            context.span().span_context().is_valid(),
            "{case}: the parent is kept"
        );
        let mut carrier = HashMap::new();
        Propagator::new(true, false).inject_context(&context, &mut carrier);
        let propagated = carrier.get("tracestate").map_or("", String::as_str);
        assert_eq!(propagated, expected, "{case}");
        let alone = extract(case, &all[1..]);
        assert!(
            !alone.span().span_context().is_valid(),
            "{case}: without traceparent it is ignored"
        );
    }
}

#[test]
fn injected_headers_have_version_00_and_only_known_flags() {
    let state = TraceState::from_key_value([("foo", "1")]).unwrap();
    let span = SpanContext::new(
        TraceId::from_hex(TRACE).unwrap(),
        SpanId::from_hex(SPAN).unwrap(),
        TraceFlags::new(0xff),
        false,
        state,
    );
    let context = Context::new().with_remote_span_context(span);
    let propagator = Propagator::new(true, true);
    let mut carrier = HashMap::new();
    propagator.inject_context(&context, &mut carrier);
    assert_eq!(carrier.len(), 2);
    assert_eq!(carrier["traceparent"], format!("00-{TRACE}-{SPAN}-03"));
    assert_eq!(carrier["tracestate"], "foo=1");
    let fields: Vec<_> = propagator.fields().collect();
    assert_eq!(fields, ["traceparent", "tracestate", "baggage"]);

    let mut carrier = HashMap::new();
    propagator.inject_context(&Context::new(), &mut carrier);
    assert!(carrier.is_empty(), "no context: {carrier:?}");
    Propagator::new(false, false).inject_context(&context, &mut carrier);
    assert!(carrier.is_empty(), "no format: {carrier:?}");
}
