//! Wraps the SDK's batch processors, and counts each item that does not fit into their queues.
//!
//! The SDK reports only at its shutdown how many items its queues dropped. These
//! wrappers admit no more items than the SDK's queue holds, so that the SDK drops none.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder as LogBatchConfig, BatchLogProcessor, LogExporter, LogProcessor,
    SdkLogRecord,
};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder as SpanBatchConfig, BatchSpanProcessor, Span, SpanData, SpanExporter,
    SpanProcessor,
};

use super::stats::ExportStats;
use crate::config::BatchConfig;

/// A queue of spans. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct SpanQueue(Arc<Queue<BatchSpanProcessor>>);

#[derive(Debug)]
struct Queue<P> {
    processor: P,
    stats: Arc<ExportStats>,
    limit: u64,
}

impl<P> Queue<P> {
    fn new(processor: P, stats: Arc<ExportStats>, config: BatchConfig) -> Self {
        Self {
            processor,
            stats,
            limit: u64::try_from(config.max_queue_size).unwrap_or(u64::MAX),
        }
    }
}

impl SpanQueue {
    pub(super) fn new(
        exporter: impl SpanExporter + 'static,
        stats: Arc<ExportStats>,
        config: BatchConfig,
    ) -> Self {
        let sdk_config = SpanBatchConfig::default()
            .with_max_queue_size(config.max_queue_size)
            .with_max_export_batch_size(config.max_export_batch_size)
            .with_scheduled_delay(config.schedule_delay)
            .build();
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(sdk_config)
            .build();
        Self(Arc::new(Queue::new(processor, stats, config)))
    }
}

impl SpanProcessor for SpanQueue {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.0.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        // Spans that are recorded but not sampled are not exported.
        if span.span_context.is_sampled() && self.0.stats.try_enqueue(self.0.limit) {
            self.0.processor.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.processor.shutdown_with_timeout(timeout)
    }
}

#[derive(Debug)]
pub(super) struct LogQueue(Queue<BatchLogProcessor>);

impl LogQueue {
    pub(super) fn new(
        exporter: impl LogExporter + 'static,
        stats: Arc<ExportStats>,
        config: BatchConfig,
    ) -> Self {
        let sdk_config = LogBatchConfig::default()
            .with_max_queue_size(config.max_queue_size)
            .with_max_export_batch_size(config.max_export_batch_size)
            .with_scheduled_delay(config.schedule_delay)
            .build();
        let processor = BatchLogProcessor::builder(exporter)
            .with_batch_config(sdk_config)
            .build();
        Self(Queue::new(processor, stats, config))
    }
}

impl LogProcessor for LogQueue {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.0.stats.try_enqueue(self.0.limit) {
            self.0.processor.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.processor.shutdown_with_timeout(timeout)
    }
}
