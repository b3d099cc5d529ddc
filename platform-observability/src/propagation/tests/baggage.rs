//! W3C Baggage.

use std::collections::HashMap;

use opentelemetry::baggage::{BaggageExt, KeyValueMetadata};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::{Context, KeyValue};

use super::super::Propagator;
use super::{extract, members};

#[test]
fn baggage_is_parsed_by_the_recommendation() {
    let cases: [(&str, &[&str], &[&str]); 15] = [
        ("one", &["a=1"], &["a=1|"]),
        (
            "several lines are one",
            &["a=1,b=2", "c=3"],
            &["a=1|", "b=2|", "c=3|"],
        ),
        ("whitespace", &[" a\t=  1 ,  b = 2 "], &["a=1|", "b=2|"]),
        ("encoded", &["a=%20%C3%A9%2C"], &["a= é,|"]),
        ("not UTF-8", &["a=%FF"], &["a=\u{fffd}|"]),
        ("= in a value", &["a=1=2"], &["a=1=2|"]),
        ("an empty value", &["a="], &["a=|"]),
        ("properties", &["a=1; p ;q=2;;"], &["a=1|p;q=2"]),
        (
            "malformed properties",
            &["a=1;b c;x=\"y\";q = 2;=3;r="],
            &["a=1|q=2;r="],
        ),
        ("no =", &["a,b=2"], &["b=2|"]),
        ("no key", &["=1,b=2"], &["b=2|"]),
        ("a key that is not a token", &["a b=1,c(=2,d=3"], &["d=3|"]),
        ("a value with a space", &["a=1 2,b=2"], &["b=2|"]),
        ("a value with quotes", &["a=\"1\",b=2"], &["b=2|"]),
        ("empty", &["", " , ,"], &[]),
    ];
    for (case, lines, expected) in cases {
        let lines: Vec<_> = lines.iter().map(|line| ("baggage", *line)).collect();
        assert_eq!(members(&extract(case, &lines)), expected, "{case}");
    }
}

#[test]
fn baggage_is_limited_and_survives_a_round_trip() {
    let many: Vec<_> = (0..70).map(|n| format!("k{n}=v")).collect();
    let extracted = extract("many", &[("baggage", &many.join(","))]);
    assert_eq!(members(&extracted).len(), 64);
    let large = format!("a={},b={},c=1", "x".repeat(8000), "x".repeat(8000));
    assert_eq!(
        members(&extract("large", &[("baggage", &large)])).len(),
        2,
        "a and c fit"
    );

    let context = Context::new().with_baggage([
        KeyValueMetadata::from(KeyValue::new("plain", "1")),
        KeyValueMetadata::from(KeyValue::new("odd", "a b,c;d\\\"%é=")),
        KeyValueMetadata::new("with", "2", "p;q=3"),
    ]);
    let forged = Context::new().with_baggage([
        KeyValueMetadata::new("one", "1", "p,two=2"),
        KeyValueMetadata::new("three", "3", "p=\r\n;q"),
    ]);
    let mut carrier = HashMap::new();
    Propagator::new(true, true).inject_context(&forged, &mut carrier);
    let mut sent: Vec<_> = carrier["baggage"].split(',').collect();
    sent.sort_unstable();
    assert_eq!(
        sent,
        ["one=1", "three=3;q"],
        "a property cannot add a member"
    );
    let mut carrier = HashMap::new();
    Propagator::new(true, true).inject_context(&context, &mut carrier);
    let sent = &carrier["baggage"];
    assert!(
        sent.is_ascii() && sent.contains("odd=a%20b%2Cc%3Bd%5C%22%25%C3%A9="),
        "{sent}"
    );
    assert_eq!(
        members(&extract("back", &[("baggage", sent)])),
        members(&context)
    );
}
