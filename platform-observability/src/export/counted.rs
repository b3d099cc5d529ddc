//! Exporters of spans and log records that keep the books, and cut what is too large for one request.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::logs::{AnyValue, Severity};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, SdkLogRecord};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::limits::{LogLimits, cut_span};
use super::status::Ledger;

/// How many bytes, before compression, and how many items one request may have. Axiom takes 4 MiB
/// and 10,000 events; the estimate of the bytes leaves room for what it does not see.
pub(super) const BYTES: usize = 3 * 1024 * 1024;
pub(super) const ITEMS: usize = 10_000;

#[derive(Debug)]
pub(super) struct Counted<E> {
    pub(super) inner: E,
    pub(super) ledger: Arc<Ledger>,
    /// How many characters of an attribute of a span are kept.
    pub(super) span_value_length: Option<usize>,
    pub(super) log_limits: Option<LogLimits>,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        self.ledger.taken(batch.len());
        if let Some(most) = self.span_value_length {
            batch.iter_mut().for_each(|span| cut_span(span, most));
        }
        let mut result = Ok(());
        while !batch.is_empty() {
            let rest = batch.split_off(fitting(batch.iter().map(span_size)));
            let items = batch.len();
            self.ledger.began(items);
            let exported = self.inner.export(batch).await;
            self.ledger.ended(items, exported.is_ok());
            result = result.and(exported);
            batch = rest;
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Counted<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let batch: Vec<(&SdkLogRecord, &InstrumentationScope)> = batch.iter().collect();
        self.ledger.taken(batch.len());
        let cut = |record| self.log_limits.as_ref()?.cut(record);
        let cut: Vec<Option<SdkLogRecord>> = batch.iter().map(|it| cut(it.0)).collect();
        let batch = batch.iter().zip(&cut);
        let batch: Vec<_> = batch
            .map(|((whole, scope), cut)| (cut.as_ref().unwrap_or(whole), *scope))
            .collect();
        let mut result = Ok(());
        let mut rest = batch.as_slice();
        while !rest.is_empty() {
            let (some, others) = rest.split_at(fitting(rest.iter().map(|it| log_size(it.0))));
            self.ledger.began(some.len());
            let exported = self.inner.export(LogBatch::new(some)).await;
            self.ledger.ended(some.len(), exported.is_ok());
            result = result.and(exported);
            rest = others;
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.inner.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// How many of the first items fit into one request: one at least.
fn fitting(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fit = sizes.take(ITEMS).take_while(|size| {
        bytes += size;
        bytes <= BYTES
    });
    fit.count().max(1)
}

/// What an item has besides its texts, roughly.
const FIXED: usize = 100;

fn span_size(span: &SpanData) -> usize {
    let events = span.events.iter();
    let events = events.map(|it| FIXED + it.name.len() + attributes_size(&it.attributes));
    let links = span.links.iter();
    let links = links.map(|it| {
        let state = it.span_context.trace_state().header().len();
        FIXED + state + attributes_size(&it.attributes)
    });
    FIXED
        + span.span_context.trace_state().header().len()
        + span.name.len()
        + attributes_size(&span.attributes)
        + events.sum::<usize>()
        + links.sum::<usize>()
}

fn attributes_size(attributes: &[KeyValue]) -> usize {
    let sizes = attributes.iter().map(|it| {
        let value = match &it.value {
            Value::String(text) => text.as_str().len(),
            Value::Array(array) => array.to_string().len(),
            _ => 8,
        };
        16 + it.key.as_str().len() + value
    });
    sizes.sum()
}

fn log_size(record: &SdkLogRecord) -> usize {
    let attributes = record.attributes_iter();
    let attributes = attributes.map(|(key, value)| key.as_str().len() + any_size(value));
    FIXED + record.body().map_or(0, any_size) + attributes.sum::<usize>()
}

fn any_size(value: &AnyValue) -> usize {
    16 + match value {
        AnyValue::String(text) => text.as_str().len(),
        AnyValue::Bytes(bytes) => bytes.len(),
        AnyValue::ListAny(list) => list.iter().map(any_size).sum(),
        AnyValue::Map(map) => {
            let pairs = map.iter();
            pairs
                .map(|(key, it)| key.as_str().len() + any_size(it))
                .sum()
        }
        _ => 8,
    }
}
