//! The queues in front of the exporters: the SDK's, with every item counted that does not fit.
//!
//! The SDK says only at its shutdown how many it dropped. These let no more items in than the
//! SDK's queue holds, so that it drops none.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::logs::Severity;
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder as LogBatchConfig, BatchLogProcessor, LogExporter, LogProcessor,
    SdkLogRecord,
};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder as SpanBatchConfig, BatchSpanProcessor, Span, SpanData, SpanExporter,
    SpanProcessor,
};

use super::status::Ledger;
use crate::config::Batches;

/// A handle; what is behind it is shared.
#[derive(Clone, Debug)]
pub(super) struct SpanQueue(Arc<Spans>);

#[derive(Debug)]
struct Spans {
    inner: BatchSpanProcessor,
    ledger: Arc<Ledger>,
    limit: usize,
}

impl SpanQueue {
    pub(super) fn new(
        exporter: impl SpanExporter + 'static,
        resource: &Resource,
        ledger: Arc<Ledger>,
        batches: Batches,
    ) -> Self {
        let config = SpanBatchConfig::default()
            .with_max_queue_size(batches.queue)
            .with_max_export_batch_size(batches.size)
            .with_scheduled_delay(batches.delay)
            .build();
        let mut inner = BatchSpanProcessor::builder(exporter)
            .with_batch_config(config)
            .build();
        inner.set_resource(resource);
        Self(Arc::new(Spans {
            inner,
            ledger,
            limit: batches.queue,
        }))
    }
}

impl SpanProcessor for SpanQueue {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.0.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        // What is recorded and not sampled is not exported.
        if span.span_context.is_sampled() && self.0.ledger.admit(self.0.limit) {
            self.0.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, _: &Resource) {
        // It was given with the exporter.
    }
}

#[derive(Debug)]
pub(super) struct LogQueue {
    inner: BatchLogProcessor,
    ledger: Arc<Ledger>,
    limit: usize,
}

impl LogQueue {
    pub(super) fn new(
        exporter: impl LogExporter + 'static,
        ledger: Arc<Ledger>,
        batches: Batches,
    ) -> Self {
        let config = LogBatchConfig::default()
            .with_max_queue_size(batches.queue)
            .with_max_export_batch_size(batches.size)
            .with_scheduled_delay(batches.delay)
            .build();
        let inner = BatchLogProcessor::builder(exporter)
            .with_batch_config(config)
            .build();
        Self {
            inner,
            ledger,
            limit: batches.queue,
        }
    }
}

impl LogProcessor for LogQueue {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.ledger.admit(self.limit) {
            self.inner.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
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
