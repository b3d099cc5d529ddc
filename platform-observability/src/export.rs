//! The SDK's providers. Each exports on a thread of its own, which the SDK starts; none of them
//! needs a runtime.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig,
    WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::config::{Destination, Destinations, Endpoint, Signal};
use crate::error::Error;

/// One provider a signal. Spans are made also where none is exported, so that audit records carry
/// trace ids.
#[derive(Clone, Debug)]
pub(crate) struct Providers {
    pub(crate) tracer: Option<SdkTracerProvider>,
    pub(crate) meter: Option<SdkMeterProvider>,
    pub(crate) logger: Option<SdkLoggerProvider>,
}

impl Providers {
    pub(crate) fn new(destinations: &Destinations, resource: &Resource) -> Result<Self, Error> {
        let mut providers = Self {
            tracer: None,
            meter: None,
            logger: None,
        };
        if !destinations.disabled {
            let mut builder = SdkTracerProvider::builder().with_resource(resource.clone());
            if let Destination::Otlp(endpoint) = &destinations.traces {
                let exporter = configured(SpanExporter::builder().with_http(), endpoint)?
                    .build()
                    .map_err(failed(Signal::Traces))?;
                builder = builder.with_batch_exporter(exporter);
            }
            providers.tracer = Some(builder.build());
        }
        if let Destination::Otlp(endpoint) = &destinations.metrics {
            let exporter = configured(MetricExporter::builder().with_http(), endpoint)?
                .build()
                .map_err(failed(Signal::Metrics))?;
            let builder = SdkMeterProvider::builder().with_resource(resource.clone());
            providers.meter = Some(builder.with_periodic_exporter(exporter).build());
        }
        if let Destination::Otlp(endpoint) = &destinations.logs {
            let exporter = configured(LogExporter::builder().with_http(), endpoint)?
                .build()
                .map_err(failed(Signal::Logs))?;
            let builder = SdkLoggerProvider::builder().with_resource(resource.clone());
            providers.logger = Some(builder.with_batch_exporter(exporter).build());
        }
        Ok(providers)
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
            } = self;
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
            done(gather(&reports, ends, deadline));
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

fn configured<B>(builder: B, endpoint: &Endpoint) -> Result<B, Error>
where
    B: WithExportConfig + WithHttpConfig,
{
    let builder = builder
        .with_http_client(Client::new(endpoint)?)
        .with_endpoint(&endpoint.url)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(endpoint.timeout);
    Ok(if endpoint.gzip {
        builder.with_compression(Compression::Gzip)
    } else {
        builder
    })
}

fn failed(signal: Signal) -> impl Fn(opentelemetry_otlp::ExporterBuildError) -> Error {
    move |error| Error::Exporter {
        signal,
        source: error.into(),
    }
}

/// The exporters' HTTP client. It is given to them, as the one they would choose depends on the
/// features that other crates switch on, and an asynchronous one fails on their threads.
struct Client {
    // None only while dropped.
    inner: Option<reqwest::blocking::Client>,
    endpoint: Endpoint,
}

impl Client {
    fn new(endpoint: &Endpoint) -> Result<Self, Error> {
        let mut builder = reqwest::blocking::Client::builder()
            .timeout(endpoint.timeout)
            // A redirect would carry the token elsewhere.
            .redirect(reqwest::redirect::Policy::none());
        if endpoint.url.starts_with("http://") {
            // Plain HTTP also works where no certificate authority is installed.
            builder = builder.tls_certs_only([]);
        }
        // A blocking client cannot be built inside a runtime, where `init` may well be called.
        let thread = thread::Builder::new().name("telemetry-client".to_owned());
        let building = thread
            .spawn(move || builder.build())
            .map_err(|source| Error::Thread { source })?;
        let built = building.join().map_err(|_| Error::Client {
            source: "the thread that made it panicked".into(),
        })?;
        let inner = built.map_err(|error| Error::Client {
            source: error.into(),
        })?;
        Ok(Self {
            inner: Some(inner),
            endpoint: endpoint.clone(),
        })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let Some(inner) = &self.inner else {
            return Err("the client is gone".into());
        };
        // Only what belongs to this endpoint: the exporter adds OTEL_EXPORTER_OTLP_HEADERS, which
        // may hold another endpoint's token.
        let built = std::mem::take(request.headers_mut());
        for name in [CONTENT_TYPE, CONTENT_ENCODING, USER_AGENT] {
            if let Some(value) = built.get(&name) {
                request.headers_mut().insert(name, value.clone());
            }
        }
        for (name, value) in &self.endpoint.headers {
            request.headers_mut().insert(name, value.clone());
        }
        inner.send_bytes(request).await
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A blocking client cannot be dropped inside a runtime either.
        let inner = self.inner.take();
        let _ = spawn("telemetry-client", move || drop(inner));
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = thread::Builder::new().name(name.to_owned());
    let started = thread.spawn(run);
    started
        .map(|_| ())
        .map_err(|source| Error::Thread { source })
}
