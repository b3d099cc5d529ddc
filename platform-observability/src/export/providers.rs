//! The SDK's providers.

use std::sync::Arc;

use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;

use super::delivery::Delivery;
use super::exporters::OtlpExporter;
use super::metric_exporter::OtlpMetricExporter;
use super::metrics;
use super::queue::{LogQueue, SpanQueue};
use super::shutdown_flag::ShutdownFlag;
use super::spool_directory::OpenSpool;
use super::spooler::Spooler;
use super::stats::ExportStats;
use super::truncation::LogTruncation;
use crate::config::{Config, Exporter};
use crate::error::Error;
use crate::instrumentation::SCOPE;
use crate::signal::PerSignal;

/// One provider for each signal that is exported. Spans are also created if none is exported, so
/// that audit records have trace ids.
#[derive(Clone, Debug)]
pub(crate) struct Providers {
    pub(crate) tracer: Option<SdkTracerProvider>,
    pub(crate) meter: Option<SdkMeterProvider>,
    pub(crate) logger: Option<SdkLoggerProvider>,
    pub(crate) stats: PerSignal<Arc<ExportStats>>,
    /// The queue of `tracer`, behind its sampler.
    pub(super) span_queue: Option<SpanQueue>,
    /// The endpoints, without their queries.
    pub(super) urls: PerSignal<Option<String>>,
    pub(super) shutdown: ShutdownFlag,
    pub(super) spoolers: Vec<Arc<Spooler>>,
}

impl Providers {
    pub(crate) fn new(
        config: &Config,
        resource: &Resource,
        spool: Option<&OpenSpool>,
    ) -> Result<Self, Error> {
        let stats = PerSignal::<Arc<ExportStats>>::default();
        let shutdown = ShutdownFlag::default();
        let deliveries = PerSignal::try_from_fn(|signal| {
            let Exporter::Otlp(endpoint) = &config.exporters[signal] else {
                return Ok(None);
            };
            let spool = spool.map(|spool| spool.for_signal(signal)).transpose()?;
            let stats = Arc::clone(&stats[signal]);
            Delivery::new(signal, endpoint, stats, shutdown.clone(), spool).map(Some)
        })?;
        let spoolers = deliveries
            .iter()
            .filter_map(|(_, delivery)| delivery.as_ref()?.spooler.clone())
            .collect();
        let span_queue = deliveries
            .traces
            .map(|delivery| span_queue(delivery, config, resource))
            .transpose()?;
        let logger = deliveries
            .logs
            .map(|delivery| logger_provider(delivery, config, resource))
            .transpose()?;
        let meter = match deliveries.metrics {
            Some(delivery) => {
                let exporter = OtlpMetricExporter::new(delivery, config.temporality);
                let meter = meter_provider(exporter, config, resource);
                metrics::observe(&meter.meter(SCOPE), &stats);
                Some(meter)
            }
            None if config.exporters.metrics == Exporter::Console => {
                let exporter = opentelemetry_stdout::MetricExporter::builder()
                    .with_temporality(config.temporality)
                    .build();
                Some(meter_provider(exporter, config, resource))
            }
            None => None,
        };
        Ok(Self {
            tracer: tracer_provider(span_queue.clone(), config, resource),
            meter,
            logger,
            urls: PerSignal::from_fn(|signal| config.exporters[signal].url().map(str::to_owned)),
            stats,
            span_queue,
            shutdown,
            spoolers,
        })
    }

    /// Starts to send spooled requests.
    pub(crate) fn start(&self) -> Result<(), Error> {
        self.spoolers.iter().try_for_each(Spooler::start)
    }
}

fn span_queue(
    delivery: Delivery,
    config: &Config,
    resource: &Resource,
) -> Result<SpanQueue, Error> {
    let stats = Arc::clone(&delivery.transport.stats);
    let exporter = OtlpExporter {
        delivery,
        resource: resource.clone(),
        limits: config.limits.span_value_length,
    };
    Ok(SpanQueue::new(
        exporter.checked()?,
        stats,
        config.span_batches,
    ))
}

fn tracer_provider(
    span_queue: Option<SpanQueue>,
    config: &Config,
    resource: &Resource,
) -> Option<SdkTracerProvider> {
    if config.disabled {
        return None;
    }
    let builder = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_sampler(config.sampler.clone())
        .with_span_limits(config.limits.spans);
    Some(match span_queue {
        Some(queue) => builder.with_span_processor(queue).build(),
        None => builder.build(),
    })
}

fn logger_provider(
    delivery: Delivery,
    config: &Config,
    resource: &Resource,
) -> Result<SdkLoggerProvider, Error> {
    let stats = Arc::clone(&delivery.transport.stats);
    let exporter = OtlpExporter {
        delivery,
        resource: resource.clone(),
        limits: LogTruncation::new(config.limits.log_attributes, config.limits.log_value_length),
    };
    let queue = LogQueue::new(exporter.checked()?, stats, config.log_batches);
    let builder = SdkLoggerProvider::builder().with_resource(resource.clone());
    Ok(builder.with_log_processor(queue).build())
}

fn meter_provider(
    exporter: impl PushMetricExporter,
    config: &Config,
    resource: &Resource,
) -> SdkMeterProvider {
    let reader = PeriodicReader::builder(exporter)
        .with_interval(config.metric_interval)
        .build();
    let builder = SdkMeterProvider::builder().with_resource(resource.clone());
    builder.with_reader(reader).build()
}
