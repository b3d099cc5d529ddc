//! The SDK's providers. Each exports on a thread of its own, which the SDK starts; none of them
//! needs a runtime.

mod client;
mod counted;
mod limits;
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
use std::time::{Duration, Instant};

use opentelemetry::logs::{LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig,
    WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;

use self::client::{Client, Stopping};
use self::counted::Counted;
use self::limits::LogLimits;
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
                let queue = SpanQueue::new(exporter, ledger, destinations.span_queue);
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
            let exporter = configured(MetricExporter::builder().with_http(), endpoint, client);
            let inner = exporter.build().map_err(failed(Signal::Metrics))?;
            let exporter = Counted {
                inner,
                ledger,
                span_value_length: None,
                log_limits: None,
            };
            let builder = SdkMeterProvider::builder().with_resource(resource.clone());
            let meter = builder.with_periodic_exporter(exporter).build();
            metrics::observe(&meter.meter(SCOPE), &providers.ledgers);
            providers.meter = Some(meter);
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
            let queue = LogQueue::new(exporter, ledger, destinations.log_queue);
            let builder = SdkLoggerProvider::builder().with_resource(resource.clone());
            providers.logger = Some(builder.with_log_processor(queue).build());
        }
        providers.spoolers = spoolers.into_inner();
        Ok(providers)
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
            if let Some(tracer) = &self.tracer {
                tracer.tracer(SCOPE).start("telemetry.self_test").end();
                let _ = tracer.force_flush();
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
                // A busy service spools on and on.
                if !signals.iter().any(is_open) || began.elapsed() > LONGEST_SELF_TEST {
                    break status;
                }
                thread::sleep(Duration::from_millis(20));
            };
            let failures = lost(&before, &after).or_else(|| kept(&after));
            done(failures.map_or(Ok(()), |failures| Err(Error::SelfTest { failures })));
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
            let (report, reports) = mpsc::channel();
            let Self {
                tracer,
                meter,
                logger,
                ledgers,
                stopping,
                spoolers,
            } = self;
            stopping.set();
            let before = ledgers.status();
            // Side by side, so that one dead endpoint takes no time from the others.
            let started = [
                tracer.map(|provider| {
                    stop(Signal::Traces, &report, move || {
                        provider.shutdown_with_timeout(deadline)
                    })
                }),
                meter.map(|provider| {
                    stop(Signal::Metrics, &report, move || {
                        provider.shutdown_with_timeout(deadline)
                    })
                }),
                logger.map(|provider| {
                    stop(Signal::Logs, &report, move || {
                        provider.shutdown_with_timeout(deadline)
                    })
                }),
            ];
            drop(report);
            if let Err(error) = started.into_iter().flatten().collect::<Result<(), _>>() {
                return done(Err(error));
            }
            let gathered = gather(&reports, ends, deadline);
            for spooler in &spoolers {
                // What does not go out in time, stays on disk.
                spooler.finish(ends.map_or(deadline, |ends| {
                    ends.saturating_duration_since(Instant::now())
                }));
            }
            // The SDK's processors keep what their exporters said to themselves.
            done(
                gathered.and_then(|()| match lost(&before, &ledgers.status()) {
                    Some(failures) => Err(Error::Shutdown { failures }),
                    None => Ok(()),
                }),
            );
        })
    }
}

type Report = (Signal, OTelSdkResult);

fn stop(
    signal: Signal,
    report: &mpsc::Sender<Report>,
    shut_down: impl FnOnce() -> OTelSdkResult + Send + 'static,
) -> Result<(), Error> {
    let report = report.clone();
    spawn("telemetry-shutdown", move || {
        // After the deadline nobody listens.
        let _ = report.send((signal, shut_down()));
    })
}

/// What was not taken between `before` and `after`, if anything.
fn lost(before: &Status, after: &Status) -> Option<String> {
    let signals = [
        (Signal::Traces, &before.traces, &after.traces),
        (Signal::Metrics, &before.metrics, &after.metrics),
        (Signal::Logs, &before.logs, &after.logs),
    ];
    let failures = signals.iter().filter_map(|(signal, before, after)| {
        let not_taken = |of: &SignalStatus| of.dropped_failed + of.rejected;
        let lost = not_taken(after) - not_taken(before);
        let reason = after
            .trouble
            .as_ref()
            .map(|trouble| trouble.reason.as_str());
        (lost > 0).then(|| format!("{signal}: {lost} lost ({})", reason.unwrap_or("rejected")))
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
        let left = ends.map_or(deadline, |ends| {
            ends.saturating_duration_since(Instant::now())
        });
        match reports.recv_timeout(left) {
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

fn configured<B>(builder: B, endpoint: &Endpoint, client: Client) -> B
where
    B: WithExportConfig + WithHttpConfig,
{
    let builder = builder
        .with_http_client(client)
        .with_endpoint(&endpoint.url)
        .with_protocol(Protocol::HttpBinary)
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
