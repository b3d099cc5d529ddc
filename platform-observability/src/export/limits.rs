//! Cuts what is longer than the limits, on the exporters' threads: the SDK knows no limit for
//! the length of a value, and none for log records.

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider};
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::trace::SpanData;

/// Cuts the texts of a span's attributes, and of those of its events and links.
pub(super) fn cut_span(span: &mut SpanData, most: usize) {
    cut_all(&mut span.attributes, most);
    for event in &mut span.events.events {
        cut_all(&mut event.attributes, most);
    }
    for link in &mut span.links.links {
        cut_all(&mut link.attributes, most);
    }
}

fn cut_all(attributes: &mut [KeyValue], most: usize) {
    for attribute in attributes {
        match &mut attribute.value {
            Value::String(text) => {
                if let Some(cut) = cut(text.as_str(), most) {
                    *text = cut.into();
                }
            }
            Value::Array(Array::String(texts)) => {
                for text in texts {
                    if let Some(cut) = cut(text.as_str(), most) {
                        *text = cut.into();
                    }
                }
            }
            _ => {}
        }
    }
}

/// The first `most` characters, if there are more.
fn cut(text: &str, most: usize) -> Option<String> {
    if text.len() <= most {
        return None;
    }
    let (end, _) = text.char_indices().nth(most)?;
    text.get(..end).map(str::to_owned)
}

/// Limits of log records.
#[derive(Debug)]
pub(super) struct LogLimits {
    attributes: usize,
    length: Option<usize>,
    /// Nobody else can make a record.
    maker: SdkLogger,
}

impl LogLimits {
    pub(super) fn new(attributes: usize, length: Option<usize>) -> Self {
        Self {
            attributes,
            length,
            maker: SdkLoggerProvider::builder().build().logger("limits"),
        }
    }

    /// The record as far as it is allowed; none if all of it is.
    pub(super) fn cut(&self, record: &SdkLogRecord) -> Option<SdkLogRecord> {
        let is_long = |value: &AnyValue| self.length.is_some_and(|most| is_longer(value, most));
        let too_many = record.attributes_iter().count() > self.attributes;
        if !too_many && !record.attributes_iter().any(|(_, value)| is_long(value)) {
            return None;
        }
        let mut short = self.maker.create_log_record();
        if let Some(name) = record.event_name() {
            short.set_event_name(name);
        }
        if let Some(target) = record.target() {
            short.set_target(target.clone());
        }
        if let Some(at) = record.timestamp() {
            short.set_timestamp(at);
        }
        if let Some(at) = record.observed_timestamp() {
            short.set_observed_timestamp(at);
        }
        if let Some(text) = record.severity_text() {
            short.set_severity_text(text);
        }
        if let Some(number) = record.severity_number() {
            short.set_severity_number(number);
        }
        if let Some(body) = record.body() {
            short.set_body(body.clone());
        }
        if let Some(trace) = record.trace_context() {
            short.set_trace_context(trace.trace_id, trace.span_id, trace.trace_flags);
        }
        let kept = record.attributes_iter().take(self.attributes);
        short.add_attributes(kept.map(|(key, value)| (key.clone(), self.value(value))));
        Some(short)
    }

    fn value(&self, value: &AnyValue) -> AnyValue {
        let Some(most) = self.length else {
            return value.clone();
        };
        match value {
            AnyValue::String(text) => match cut(text.as_str(), most) {
                Some(cut) => AnyValue::String(cut.into()),
                None => value.clone(),
            },
            AnyValue::ListAny(list) => {
                AnyValue::ListAny(Box::new(list.iter().map(|it| self.value(it)).collect()))
            }
            AnyValue::Map(map) => AnyValue::Map(Box::new(
                map.iter()
                    .map(|(key, it)| (key.clone(), self.value(it)))
                    .collect(),
            )),
            other => other.clone(),
        }
    }
}

fn is_longer(value: &AnyValue, most: usize) -> bool {
    match value {
        AnyValue::String(text) => cut(text.as_str(), most).is_some(),
        AnyValue::ListAny(list) => list.iter().any(|it| is_longer(it, most)),
        AnyValue::Map(map) => map.values().any(|it| is_longer(it, most)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider};
    use opentelemetry::trace::{Span, Tracer, TracerProvider};
    use opentelemetry::{Array, KeyValue, Value};
    use opentelemetry_sdk::logs::SdkLoggerProvider;

    use super::LogLimits;

    fn texts(one: &'static str, other: &'static str) -> Value {
        Value::Array(Array::String(vec![one.into(), other.into()]))
    }

    #[test]
    fn texts_of_spans_are_cut_by_characters() {
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
        let mut span = provider.tracer("test").start("one");
        let listed = texts("ab", "abcd");
        let attributes = [
            KeyValue::new("text", "äöüß"),
            KeyValue::new("short", "äöü"),
            KeyValue::new("number", 12_345),
            KeyValue::new("texts", listed),
        ];
        span.add_event("event", attributes.to_vec());
        span.set_attributes(attributes);
        let mut data = span.exported_data().unwrap();
        super::cut_span(&mut data, 3);
        let expected = [
            KeyValue::new("text", "äöü"),
            KeyValue::new("short", "äöü"),
            KeyValue::new("number", 12_345),
            KeyValue::new("texts", texts("ab", "abc")),
        ];
        assert_eq!(data.attributes, expected);
        assert_eq!(data.events.events[0].attributes, expected);
    }

    #[test]
    fn log_records_lose_what_is_too_much_and_nothing_else() {
        let limits = LogLimits::new(2, Some(3));
        let logger = SdkLoggerProvider::builder().build().logger("test");
        let mut record = logger.create_log_record();
        record.set_body("a long body".into());
        record.set_target("target");
        record.set_severity_text("INFO");
        record.add_attribute("one", "abc");
        assert!(limits.cut(&record).is_none());
        record.add_attribute("two", "abcd");
        record.add_attribute("three", "x");
        let cut = limits.cut(&record).unwrap();
        let attributes: Vec<_> = cut.attributes_iter().cloned().collect();
        assert_eq!(
            attributes,
            [
                ("one".into(), AnyValue::from("abc")),
                ("two".into(), AnyValue::from("abc"))
            ]
        );
        assert_eq!(cut.body(), record.body());
        assert_eq!(cut.target(), record.target());
        assert_eq!(cut.severity_text(), record.severity_text());
    }
}
