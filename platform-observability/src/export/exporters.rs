//! The exporters of spans and log records: they truncate values, split batches, and pass these to
//! opentelemetry-otlp's exporters.
//!
//! An exporter is built for each request, with that request's [`Batch`](super::delivery::Batch) as
//! its HTTP client. This costs a microsecond or two; in return, the client knows the number of
//! items that it sends without sharing state with the exporter.

use opentelemetry::InstrumentationScope;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, Protocol, RetryPolicy, SpanExporter, WithExportConfig,
    WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::{self, LogBatch, LogExporter as _, SdkLogRecord};
use opentelemetry_sdk::trace::{self, SpanData, SpanExporter as _};

use super::delivery::Delivery;
use super::size::{fitting, log_record_size, span_size};
use super::truncation::{LogTruncation, truncate_span};
use crate::error::Error;

/// An exporter of one signal, with the limits of its spans or log records.
#[derive(Debug)]
pub(super) struct OtlpExporter<L> {
    pub(super) delivery: Delivery,
    pub(super) resource: Resource,
    pub(super) limits: L,
}

/// The maximum length of a span's attributes, in characters.
pub(super) type SpanLimits = Option<usize>;

impl OtlpExporter<SpanLimits> {
    /// # Errors
    ///
    /// If no exporter can be built with this endpoint.
    pub(super) fn checked(self) -> Result<Self, Error> {
        self.build(0).map_err(|error| self.invalid(error))?;
        Ok(self)
    }

    fn build(&self, items: usize) -> Result<SpanExporter, ExporterBuildError> {
        let mut exporter = self
            .configure(SpanExporter::builder().with_http(), items)
            .build()?;
        exporter.set_resource(&self.resource);
        Ok(exporter)
    }
}

impl trace::SpanExporter for OtlpExporter<SpanLimits> {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        self.delivery.transport.stats.dequeued(batch.len());
        if let Some(max) = self.limits {
            batch.iter_mut().for_each(|span| truncate_span(span, max));
        }
        let mut result = Ok(());
        while !batch.is_empty() {
            let rest = batch.split_off(fitting(batch.iter().map(span_size)));
            let exported = match self.build(batch.len()) {
                Ok(exporter) => exporter.export(batch).await,
                Err(error) => Err(OTelSdkError::InternalFailure(error.to_string())),
            };
            result = result.and(exported);
            batch = rest;
        }
        result
    }
}

impl OtlpExporter<LogTruncation> {
    /// # Errors
    ///
    /// If no exporter can be built with this endpoint.
    pub(super) fn checked(self) -> Result<Self, Error> {
        self.build(0).map_err(|error| self.invalid(error))?;
        Ok(self)
    }

    fn build(&self, items: usize) -> Result<LogExporter, ExporterBuildError> {
        let mut exporter = self
            .configure(LogExporter::builder().with_http(), items)
            .build()?;
        exporter.set_resource(&self.resource);
        Ok(exporter)
    }
}

impl logs::LogExporter for OtlpExporter<LogTruncation> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let batch: Vec<(&SdkLogRecord, &InstrumentationScope)> = batch.iter().collect();
        self.delivery.transport.stats.dequeued(batch.len());
        let truncated = batch.iter().map(|(record, _)| self.limits.apply(record));
        let truncated: Vec<Option<SdkLogRecord>> = truncated.collect();
        let batch: Vec<_> = batch
            .iter()
            .zip(&truncated)
            .map(|((record, scope), truncated)| (truncated.as_ref().unwrap_or(record), *scope))
            .collect();
        let mut result = Ok(());
        let mut rest = batch.as_slice();
        while !rest.is_empty() {
            let sizes = rest.iter().map(|(record, _)| log_record_size(record));
            let (batch, others) = rest.split_at(fitting(sizes));
            let exported = match self.build(batch.len()) {
                Ok(exporter) => exporter.export(LogBatch::new(batch)).await,
                Err(error) => Err(OTelSdkError::InternalFailure(error.to_string())),
            };
            result = result.and(exported);
            rest = others;
        }
        result
    }
}

impl<L> OtlpExporter<L> {
    fn configure<B>(&self, builder: B, items: usize) -> B
    where
        B: WithExportConfig + WithHttpConfig,
    {
        let endpoint = &self.delivery.transport.endpoint;
        let builder = builder
            .with_http_client(self.delivery.batch(items))
            .with_endpoint(&endpoint.url)
            .with_protocol(Protocol::HttpBinary)
            // The transport retries, as it knows when the process shuts down.
            .with_retry_policy(RetryPolicy::disabled())
            .with_timeout(endpoint.timeout);
        match endpoint.compression {
            Some(compression) => builder.with_compression(compression),
            None => builder,
        }
    }

    fn invalid(&self, error: ExporterBuildError) -> Error {
        Error::Exporter {
            signal: self.delivery.transport.signal,
            source: error.into(),
        }
    }
}
