//! Truncates values on the exporters' threads: the SDK supports no limit for the length of a
//! value, and no limits for log records.

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider};
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::trace::SpanData;

/// Truncates the attributes of a span, its events and its links to `max` characters.
pub(super) fn truncate_span(span: &mut SpanData, max: usize) {
    truncate_attributes(&mut span.attributes, max);
    for event in &mut span.events.events {
        truncate_attributes(&mut event.attributes, max);
    }
    for link in &mut span.links.links {
        truncate_attributes(&mut link.attributes, max);
    }
}

fn truncate_attributes(attributes: &mut [KeyValue], max: usize) {
    for attribute in attributes {
        match &mut attribute.value {
            Value::String(text) => {
                if let Some(truncated) = truncated(text.as_str(), max) {
                    *text = truncated.into();
                }
            }
            Value::Array(Array::String(texts)) => {
                for text in texts {
                    if let Some(truncated) = truncated(text.as_str(), max) {
                        *text = truncated.into();
                    }
                }
            }
            _ => {}
        }
    }
}

/// The first `max` characters, if there are more.
fn truncated(text: &str, max: usize) -> Option<String> {
    if text.len() <= max {
        return None;
    }
    let (end, _) = text.char_indices().nth(max)?;
    text.get(..end).map(str::to_owned)
}

/// The limits of log records.
#[derive(Debug)]
pub(super) struct LogTruncation {
    max_attributes: usize,
    /// In characters.
    max_value_length: Option<usize>,
    /// Creates the truncated records: only a logger can.
    logger: SdkLogger,
}

impl LogTruncation {
    pub(super) fn new(max_attributes: usize, max_value_length: Option<usize>) -> Self {
        Self {
            max_attributes,
            max_value_length,
            logger: SdkLoggerProvider::builder().build().logger("truncation"),
        }
    }

    /// The truncated record; `None` if it is within the limits.
    pub(super) fn apply(&self, record: &SdkLogRecord) -> Option<SdkLogRecord> {
        let truncate = |value| self.max_value_length.and_then(|max| truncate(value, max));
        let is_truncated = record.attributes_iter().count() > self.max_attributes
            || record
                .attributes_iter()
                .any(|(_, value)| truncate(value).is_some());
        if !is_truncated {
            return None;
        }
        let mut short = self.logger.create_log_record();
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
        let kept = record.attributes_iter().take(self.max_attributes);
        short.add_attributes(kept.map(|(key, value)| {
            let value = truncate(value).unwrap_or_else(|| value.clone());
            (key.clone(), value)
        }));
        Some(short)
    }
}

/// The truncated value; `None` if it is short enough.
fn truncate(value: &AnyValue, max: usize) -> Option<AnyValue> {
    let or_clone = |value: &AnyValue| truncate(value, max).unwrap_or_else(|| value.clone());
    match value {
        AnyValue::String(text) => Some(truncated(text.as_str(), max)?.into()),
        AnyValue::ListAny(list) => {
            list.iter().find_map(|value| truncate(value, max))?;
            let list = list.iter().map(or_clone).collect();
            Some(AnyValue::ListAny(Box::new(list)))
        }
        AnyValue::Map(map) => {
            map.values().find_map(|value| truncate(value, max))?;
            let map = map
                .iter()
                .map(|(key, value)| (key.clone(), or_clone(value)));
            Some(AnyValue::Map(Box::new(map.collect())))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider};
    use opentelemetry::trace::{Span, Tracer, TracerProvider};
    use opentelemetry::{Array, KeyValue, Value};
    use opentelemetry_sdk::logs::SdkLoggerProvider;

    use super::LogTruncation;

    fn texts(one: &'static str, other: &'static str) -> Value {
        Value::Array(Array::String(vec![one.into(), other.into()]))
    }

    #[test]
    fn span_attributes_are_truncated_at_a_number_of_characters() {
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
        super::truncate_span(&mut data, 3);
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
    fn only_the_excess_of_a_log_record_is_dropped() {
        let truncation = LogTruncation::new(2, Some(3));
        let logger = SdkLoggerProvider::builder().build().logger("test");
        let mut record = logger.create_log_record();
        record.set_body("a long body".into());
        record.set_target("target");
        record.set_severity_text("INFO");
        record.add_attribute("one", "abc");
        assert!(truncation.apply(&record).is_none());
        record.add_attribute("two", "abcd");
        record.add_attribute("three", "x");
        let truncated = truncation.apply(&record).unwrap();
        let attributes: Vec<_> = truncated.attributes_iter().cloned().collect();
        assert_eq!(
            attributes,
            [
                ("one".into(), AnyValue::from("abc")),
                ("two".into(), AnyValue::from("abc"))
            ]
        );
        assert_eq!(truncated.body(), record.body());
        assert_eq!(truncated.target(), record.target());
        assert_eq!(truncated.severity_text(), record.severity_text());
    }
}
