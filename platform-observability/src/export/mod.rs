//! The SDK's providers. Each exports on a thread of its own, which the SDK starts; none of them
//! needs a runtime.

mod client;
mod counted;
mod limits;
mod metric_exporter;
mod metrics;
mod queue;
mod spool;
mod spooler;
mod status;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::{LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status as SpanStatus, TraceFlags, TraceId, TraceState,
};
use opentelemetry_otlp::{
    Compression, LogExporter, Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanProcessor};

use self::client::{Client, Stopping};
use self::counted::Counted;
use self::limits::LogLimits;
use self::metric_exporter::MetricExporter;
#[cfg(test)]
pub(crate) use self::metrics::observe_everything;
use self::queue::{LogQueue, SpanQueue};
pub(crate) use self::spool::OpenSpool;
pub use self::spool::Spool;
use self::spooler::Spooler;
use self::status::Ledger;
pub use self::status::{SignalStatus, Status, Trouble};
use crate::config::{self, Destination, Destinations, Endpoint, Signal};
use crate::console::RequestEnds;
use crate::error::Error;
use crate::telemetry::SCOPE;

/// How long a self-test waits for what went through a spool.
const LONGEST_SELF_TEST: Duration = Duration::from_secs(30);

/// One provider a signal. Spans are made also where none is exported, so that audit records carry
/// trace ids.
#[derive(Clone, Debug)]
pub(crate) struct Providers {
    pub(crate) tracer: Option<SdkTracerProvider>,
    pub(crate) meter: Option<SdkMeterProvider>,
    pub(crate) logger: Option<SdkLoggerProvider>,
    pub(crate) ledgers: Ledgers,
    /// Where spans wait, sampled or not.
    spans: Option<SpanQueue>,
    /// Where signals are sent to, without what follows a `?`.
    urls: Vec<(Signal, String)>,
    stopping: Stopping,
    spoolers: Vec<Arc<Spooler>>,
}

/// The books of all signals.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledgers {
    traces: Arc<Ledger>,
    metrics: Arc<Ledger>,
    logs: Arc<Ledger>,
}

impl Ledgers {
    pub(crate) fn status(&self) -> Status {
        Status {
            traces: self.traces.status(),
            metrics: self.metrics.status(),
            logs: self.logs.status(),
        }
    }
}

impl Providers {
    pub(crate) fn new(
        destinations: &Destinations,
        resource: &Resource,
        spool: Option<&OpenSpool>,
    ) -> Result<Self, Error> {
        let limits = destinations.limits;
        let spoolers = RefCell::new(Vec::new());
        let mut providers = Self {
            tracer: None,
            meter: None,
            logger: None,
            ledgers: Ledgers::default(),
            spans: None,
            urls: destinations.urls(),
            stopping: Stopping::default(),
            spoolers: Vec::new(),
        };
        let client = |signal, endpoint: &Endpoint, ledger: &Arc<Ledger>| {
            let stopping = providers.stopping.clone();
            let spool = match spool {
                Some(spool) => Some(spool.of(signal)?),
                None => None,
            };
            let client = Client::new(signal, endpoint, Arc::clone(ledger), stopping, spool)?;
            spoolers.borrow_mut().extend(client.spooler());
            Ok(client)
        };
        if !destinations.disabled {
            let mut builder = SdkTracerProvider::builder()
                .with_resource(resource.clone())
                .with_sampler(destinations.sampler.clone())
                .with_span_limits(limits.spans);
            if let Destination::Otlp(endpoint) = &destinations.traces {
                let ledger = Arc::clone(&providers.ledgers.traces);
                let client = client(Signal::Traces, endpoint, &ledger)?;
                let exporter = configured(SpanExporter::builder().with_http(), endpoint, client);
                let inner = exporter.build().map_err(failed(Signal::Traces))?;
                let exporter = Counted {
                    inner,
                    ledger: Arc::clone(&ledger),
                    span_value_length: limits.span_value_length,
                    log_limits: None,
                };
                let queue = SpanQueue::new(exporter, resource, ledger, destinations.spans);
                providers.spans = Some(queue.clone());
                builder = builder.with_span_processor(queue);
            }
            if destinations.traces == Destination::Console {
                builder = builder.with_span_processor(RequestEnds);
            }
            providers.tracer = Some(builder.build());
        }
        if let Destination::Otlp(endpoint) = &destinations.metrics {
            let ledger = Arc::clone(&providers.ledgers.metrics);
            let client = client(Signal::Metrics, endpoint, &ledger)?;
            let temporality = destinations.temporality;
            let exporter = MetricExporter::new(client, ledger, endpoint, temporality);
            let meter = periodic(exporter, destinations, resource);
            metrics::observe(&meter.meter(SCOPE), &providers.ledgers);
            providers.meter = Some(meter);
        } else if destinations.metrics == Destination::Console {
            let exporter = opentelemetry_stdout::MetricExporter::builder()
                .with_temporality(destinations.temporality)
                .build();
            providers.meter = Some(periodic(exporter, destinations, resource));
        }
        if let Destination::Otlp(endpoint) = &destinations.logs {
            let ledger = Arc::clone(&providers.ledgers.logs);
            let client = client(Signal::Logs, endpoint, &ledger)?;
            let exporter = configured(LogExporter::builder().with_http(), endpoint, client);
            let inner = exporter.build().map_err(failed(Signal::Logs))?;
            let exporter = Counted {
                inner,
                ledger: Arc::clone(&ledger),
                span_value_length: None,
                log_limits: Some(LogLimits::new(
                    limits.log_attributes,
                    limits.log_value_length,
                )),
            };
            let queue = LogQueue::new(exporter, ledger, destinations.log_records);
            let builder = SdkLoggerProvider::builder().with_resource(resource.clone());
            providers.logger = Some(builder.with_log_processor(queue).build());
        }
        providers.spoolers = spoolers.into_inner();
        Ok(providers)
    }

    /// Lets what is spooled go out. Nothing does before.
    pub(crate) fn start(&self) -> Result<(), Error> {
        self.spoolers.iter().try_for_each(Spooler::start)
    }

    /// Sends something of each signal on a thread of its own, and calls `done` there with whether
    /// it was taken.
    pub(crate) fn self_test(
        self,
        done: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) -> Result<(), Error> {
        spawn("telemetry-self-test", move || {
            let before = self.ledgers.status();
            // What they answer, the books say better.
            if let Some(queue) = &self.spans {
                queue.on_end(self_test_span());
                let _ = queue.force_flush();
            }
            if let Some(logger) = &self.logger {
                let scope = logger.logger(SCOPE);
                let mut record = scope.create_log_record();
                record.set_severity_number(Severity::Info);
                record.set_body("telemetry was asked to test itself".into());
                scope.emit(record);
                let _ = logger.force_flush();
            }
            if let Some(meter) = &self.meter {
                let _ = meter.force_flush();
            }
            let began = Instant::now();
            let after = loop {
                let status = self.ledgers.status();
                let signals = [&status.traces, &status.metrics, &status.logs];
                let is_open = |of: &&SignalStatus| of.spooled > 0 && of.trouble.is_none();
                // The SDK's flushes give up before an export does; and a busy service spools on and on.
                let is_over =
                    !signals.iter().any(is_open) && self.unanswered(&before, &status).is_none();
                if is_over || began.elapsed() > LONGEST_SELF_TEST {
                    break status;
                }
                thread::sleep(Duration::from_millis(20));
            };
            let failures = lost(&before, &after).or_else(|| kept(&after));
            let failures = failures.or_else(|| self.unanswered(&before, &after));
            if failures.is_none() {
                tracing::info!(target: "platform_observability::export", "{}", self.arrives());
            }
            done(failures.map_or(Ok(()), |failures| Err(Error::SelfTest { failures })));
        })
    }

    /// The signals of which an endpoint neither took nor refused anything between `before` and
    /// `after`, if there are such.
    fn unanswered(&self, before: &Status, after: &Status) -> Option<String> {
        let unanswered = self.urls.iter().filter_map(|(signal, _)| {
            let [before, after] = [before, after].map(|status| status.of(*signal));
            // What is on disk is told apart.
            let settled = |of: &SignalStatus| {
                let dropped = of.dropped_failed + of.dropped_queue_full;
                of.exported + of.rejected + dropped + of.spooled
            };
            let reason = after
                .trouble
                .as_ref()
                .map(|trouble| trouble.reason.as_str());
            // There may be no metrics to send, and nobody waits for what is sent with the flush.
            let has_some = *signal != Signal::Metrics || reason.is_some();
            (has_some && settled(after) == settled(before))
                .then(|| format!("{signal}: {}", reason.unwrap_or("no answer yet")))
        });
        let unanswered: Vec<_> = unanswered.collect();
        (!unanswered.is_empty()).then(|| unanswered.join("; "))
    }

    /// What a self-test says that found nothing wrong.
    fn arrives(&self) -> String {
        let taken = self.urls.iter();
        let taken: Vec<_> = taken
            .map(|(signal, url)| format!("{signal} at {url}"))
            .collect();
        match taken.is_empty() {
            true => "telemetry goes to no endpoint, so there was none to test".to_owned(),
            false => format!("telemetry arrives: {}", taken.join(", ")),
        }
    }

    /// Sends what is queued, on threads of its own; `done` is called there once, after `deadline`
    /// at the latest, whatever came of it.
    pub(crate) fn flush(
        self,
        deadline: Duration,
        done: impl FnOnce() + Send + 'static,
    ) -> Result<(), Error> {
        spawn("telemetry-flush", move || {
            let ends = Instant::now().checked_add(deadline);
            // The books say what came of it.
            let _ = self.on_each(
                deadline,
                ends,
                |provider| provider.force_flush(),
                |provider| provider.force_flush(),
                |provider| provider.force_flush(),
            );
            done();
        })
    }

    /// Sends what is queued and stops, on threads of its own; `done` is called there once, after
    /// `deadline` at the latest.
    pub(crate) fn shut_down(
        self,
        deadline: Duration,
        done: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) -> Result<(), Error> {
        spawn("telemetry-shutdown", move || {
            let ends = Instant::now().checked_add(deadline);
            self.stopping.set();
            let before = self.ledgers.status();
            let stopped = self.on_each(
                deadline,
                ends,
                move |provider| provider.shutdown_with_timeout(deadline),
                {
                    let ledger = Arc::clone(&self.ledgers.metrics);
                    move |provider| shut_down_metrics(&provider, &ledger, deadline)
                },
                move |provider| provider.shutdown_with_timeout(deadline),
            );
            for spooler in &self.spoolers {
                // What does not go out in time, stays on disk.
                spooler.finish(left(deadline, ends));
            }
            // The SDK's processors keep what their exporters said to themselves.
            done(
                stopped.and_then(|()| match lost(&before, &self.ledgers.status()) {
                    Some(failures) => Err(Error::Shutdown { failures }),
                    None => Ok(()),
                }),
            );
        })
    }

    /// Does this with each provider side by side, so that one dead endpoint takes no time from the
    /// others.
    fn on_each(
        &self,
        deadline: Duration,
        ends: Option<Instant>,
        traces: impl FnOnce(SdkTracerProvider) -> OTelSdkResult + Send + 'static,
        metrics: impl FnOnce(SdkMeterProvider) -> OTelSdkResult + Send + 'static,
        logs: impl FnOnce(SdkLoggerProvider) -> OTelSdkResult + Send + 'static,
    ) -> Result<(), Error> {
        let (report, reports) = mpsc::channel();
        if let Some(provider) = self.tracer.clone() {
            aside(Signal::Traces, &report, move || traces(provider))?;
        }
        if let Some(provider) = self.meter.clone() {
            aside(Signal::Metrics, &report, move || metrics(provider))?;
        }
        if let Some(provider) = self.logger.clone() {
            aside(Signal::Logs, &report, move || logs(provider))?;
        }
        drop(report);
        gather(&reports, ends, deadline)
    }
}

/// A span that no sampler sees, as one would leave it out perhaps.
fn self_test_span() -> SpanData {
    let now = SystemTime::now();
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(fastrand::u128(1..)),
            SpanId::from(fastrand::u64(1..)),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "telemetry.self_test".into(),
        start_time: now,
        end_time: now,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: Default::default(),
        links: Default::default(),
        status: SpanStatus::Unset,
        instrumentation_scope: InstrumentationScope::builder(SCOPE).build(),
    }
}

type Report = (Signal, OTelSdkResult);

fn aside(
    signal: Signal,
    report: &mpsc::Sender<Report>,
    run: impl FnOnce() -> OTelSdkResult + Send + 'static,
) -> Result<(), Error> {
    let report = report.clone();
    spawn("telemetry-provider", move || {
        // After the deadline nobody listens.
        let _ = report.send((signal, run()));
    })
}

fn left(deadline: Duration, ends: Option<Instant>) -> Duration {
    ends.map_or(deadline, |ends| {
        ends.saturating_duration_since(Instant::now())
    })
}

/// The SDK waits five seconds for the last metrics, whatever it is told, and then for nothing. What is
/// being sent then may still arrive; what came of it, the books say.
fn shut_down_metrics(
    provider: &SdkMeterProvider,
    ledger: &Ledger,
    deadline: Duration,
) -> OTelSdkResult {
    let stopped = provider.shutdown_with_timeout(deadline);
    if stopped.is_ok() || ledger.in_flight() == 0 {
        return stopped;
    }
    // As long as somebody waits for it: the deadline is kept by whoever gathers.
    let ends = Instant::now().checked_add(deadline);
    while ledger.in_flight() > 0 && !left(deadline, ends).is_zero() {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What was not taken between `before` and `after`, if anything.
fn lost(before: &Status, after: &Status) -> Option<String> {
    let signals = [
        (Signal::Traces, &before.traces, &after.traces),
        (Signal::Metrics, &before.metrics, &after.metrics),
        (Signal::Logs, &before.logs, &after.logs),
    ];
    let failures = signals.iter().filter_map(|(signal, before, after)| {
        let failed = |of: &SignalStatus| of.dropped_failed + of.rejected;
        let failed = failed(after) - failed(before);
        let no_room = after.dropped_queue_full - before.dropped_queue_full;
        let trouble = after.trouble.as_ref();
        let reason = match trouble.map(|trouble| trouble.reason.as_str()) {
            Some(reason) => reason,
            None if failed > 0 => "rejected",
            None => "the queue was full",
        };
        let lost = failed + no_room;
        (lost > 0).then(|| format!("{signal}: {lost} lost ({reason})"))
    });
    let failures: Vec<_> = failures.collect();
    (!failures.is_empty()).then(|| failures.join("; "))
}

/// What stays on disk, as an endpoint does not take it, if anything.
fn kept(status: &Status) -> Option<String> {
    let signals = [
        (Signal::Traces, &status.traces),
        (Signal::Metrics, &status.metrics),
        (Signal::Logs, &status.logs),
    ];
    let kept = signals.iter().filter_map(|(signal, of)| {
        let reason = &of.trouble.as_ref()?.reason;
        (of.spooled > 0).then(|| format!("{signal}: {} kept on disk ({reason})", of.spooled))
    });
    let kept: Vec<_> = kept.collect();
    (!kept.is_empty()).then(|| kept.join("; "))
}

fn gather(
    reports: &mpsc::Receiver<Report>,
    ends: Option<Instant>,
    deadline: Duration,
) -> Result<(), Error> {
    let mut failures = Vec::new();
    loop {
        match reports.recv_timeout(left(deadline, ends)) {
            Ok((_, Ok(()))) => {}
            Ok((signal, Err(error))) => failures.push(format!("{signal}: {error}")),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                return Err(Error::ShutdownTimedOut { deadline });
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    failures.sort();
    Err(Error::Shutdown {
        failures: failures.join("; "),
    })
}

fn periodic(
    exporter: impl PushMetricExporter,
    destinations: &Destinations,
    resource: &Resource,
) -> SdkMeterProvider {
    let reader = PeriodicReader::builder(exporter)
        .with_interval(destinations.metric_interval)
        .build();
    let builder = SdkMeterProvider::builder().with_resource(resource.clone());
    builder.with_reader(reader).build()
}

fn configured<B>(builder: B, endpoint: &Endpoint, client: Client) -> B
where
    B: WithExportConfig + WithHttpConfig,
{
    let builder = builder
        .with_http_client(client)
        .with_endpoint(&endpoint.url)
        .with_protocol(Protocol::HttpBinary)
        // Ours has its own, which knows when nobody may wait any more.
        .with_retry_policy(RetryPolicy::disabled())
        .with_timeout(endpoint.timeout);
    match endpoint.compression {
        config::Compression::None => builder,
        config::Compression::Gzip => builder.with_compression(Compression::Gzip),
        config::Compression::Zstd => builder.with_compression(Compression::Zstd),
    }
}

fn failed(signal: Signal) -> impl Fn(opentelemetry_otlp::ExporterBuildError) -> Error {
    move |error| Error::Exporter {
        signal,
        source: error.into(),
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = thread::Builder::new().name(name.to_owned());
    let started = thread.spawn(run);
    started
        .map(|_| ())
        .map_err(|source| Error::Thread { source })
}
