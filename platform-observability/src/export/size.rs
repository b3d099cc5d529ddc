//! Computes how many items fit into one request.

use opentelemetry::logs::AnyValue;
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::logs::SdkLogRecord;
use opentelemetry_sdk::trace::SpanData;

/// The maximum size of a request in bytes, before compression, and its maximum number of items.
/// Axiom accepts 4 MiB and 10,000 events; the rest is a margin for the estimate of the size.
pub(super) const MAX_BYTES: usize = 3 * 1024 * 1024;
pub(super) const MAX_ITEMS: usize = 10_000;

/// How many of the first items fit into one request; at least one.
pub(super) fn fitting(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fit = sizes.take(MAX_ITEMS).take_while(|size| {
        bytes += size;
        bytes <= MAX_BYTES
    });
    fit.count().max(1)
}

/// The approximate size of the fixed-size fields of an item, in bytes.
const FIXED: usize = 100;

pub(super) fn span_size(span: &SpanData) -> usize {
    let events = span.events.iter();
    let events = events.map(|event| FIXED + event.name.len() + attributes_size(&event.attributes));
    let links = span.links.iter();
    let links = links.map(|link| {
        let state = link.span_context.trace_state().header().len();
        FIXED + state + attributes_size(&link.attributes)
    });
    FIXED
        + span.span_context.trace_state().header().len()
        + span.name.len()
        + attributes_size(&span.attributes)
        + events.sum::<usize>()
        + links.sum::<usize>()
}

fn attributes_size(attributes: &[KeyValue]) -> usize {
    let sizes = attributes.iter().map(|attribute| {
        let value = match &attribute.value {
            Value::String(text) => text.as_str().len(),
            Value::Array(array) => array.to_string().len(),
            _ => 8,
        };
        16 + attribute.key.as_str().len() + value
    });
    sizes.sum()
}

pub(super) fn log_record_size(record: &SdkLogRecord) -> usize {
    let attributes = record.attributes_iter();
    let attributes = attributes.map(|(key, value)| key.as_str().len() + value_size(value));
    FIXED + record.body().map_or(0, value_size) + attributes.sum::<usize>()
}

fn value_size(value: &AnyValue) -> usize {
    16 + match value {
        AnyValue::String(text) => text.as_str().len(),
        AnyValue::Bytes(bytes) => bytes.len(),
        AnyValue::ListAny(list) => list.iter().map(value_size).sum(),
        AnyValue::Map(map) => {
            let pairs = map.iter();
            pairs
                .map(|(key, it)| key.as_str().len() + value_size(it))
                .sum()
        }
        _ => 8,
    }
}
