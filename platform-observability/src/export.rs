//! The SDK's providers, which export on threads of their own.

use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig,
    WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::Error;
use crate::config::{Destination, Destinations, Endpoint, Signal};

/// One provider a signal. Spans are always made, so that logs and audit records carry trace ids
/// also where no trace is exported.
#[derive(Clone, Debug)]
pub(crate) struct Providers {
    pub(crate) tracer: SdkTracerProvider,
    pub(crate) meter: Option<SdkMeterProvider>,
    pub(crate) logger: Option<SdkLoggerProvider>,
}

impl Providers {
    pub(crate) fn new(destinations: &Destinations, resource: Resource) -> Result<Self, Error> {
        let timeout = destinations.timeout;
        let mut tracer = SdkTracerProvider::builder().with_resource(resource.clone());
        if let Destination::Otlp(endpoint) = &destinations.traces {
            let exporter = configured(
                SpanExporter::builder().with_http(),
                Signal::Traces,
                endpoint,
                timeout,
            )?;
            tracer = tracer.with_batch_exporter(exporter.build().map_err(failed(Signal::Traces))?);
        }
        let meter = match &destinations.metrics {
            Destination::Otlp(endpoint) => {
                let exporter = configured(
                    MetricExporter::builder().with_http(),
                    Signal::Metrics,
                    endpoint,
                    timeout,
                )?;
                let exporter = exporter.build().map_err(failed(Signal::Metrics))?;
                let provider = SdkMeterProvider::builder().with_resource(resource.clone());
                Some(provider.with_periodic_exporter(exporter).build())
            }
            Destination::Console | Destination::Nowhere => None,
        };
        let logger = match &destinations.logs {
            Destination::Otlp(endpoint) => {
                let exporter = configured(
                    LogExporter::builder().with_http(),
                    Signal::Logs,
                    endpoint,
                    timeout,
                )?;
                let exporter = exporter.build().map_err(failed(Signal::Logs))?;
                let provider = SdkLoggerProvider::builder().with_resource(resource);
                Some(provider.with_batch_exporter(exporter).build())
            }
            Destination::Console | Destination::Nowhere => None,
        };
        Ok(Self {
            tracer: tracer.build(),
            meter,
            logger,
        })
    }

    /// Sends what is queued and stops. Blocks, so it must run on a thread that may.
    pub(crate) fn shut_down(&self, deadline: Duration) -> Result<(), Error> {
        let ended = |signal| {
            move |error: opentelemetry_sdk::error::OTelSdkError| Error::Shutdown {
                signal,
                problem: error.to_string(),
            }
        };
        let traces = self
            .tracer
            .shutdown_with_timeout(deadline)
            .map_err(ended(Signal::Traces));
        let logs = self.logger.as_ref().map_or(Ok(()), |logger| {
            logger
                .shutdown_with_timeout(deadline)
                .map_err(ended(Signal::Logs))
        });
        let metrics = self.meter.as_ref().map_or(Ok(()), |meter| {
            meter
                .shutdown_with_timeout(deadline)
                .map_err(ended(Signal::Metrics))
        });
        traces.and(logs).and(metrics)
    }
}

fn configured<B: WithExportConfig + WithHttpConfig>(
    builder: B,
    signal: Signal,
    endpoint: &Endpoint,
    timeout: Duration,
) -> Result<B, Error> {
    let client =
        Client::new(endpoint, timeout).map_err(|problem| Error::Exporter { signal, problem })?;
    let builder = builder
        .with_http_client(client)
        .with_endpoint(&endpoint.url)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(timeout);
    Ok(if endpoint.gzip {
        builder.with_compression(Compression::Gzip)
    } else {
        builder
    })
}

fn failed(signal: Signal) -> impl Fn(opentelemetry_otlp::ExporterBuildError) -> Error {
    move |error| Error::Exporter {
        signal,
        problem: error.to_string(),
    }
}

/// The exporters' HTTP client. It is given to them, as the one they would choose depends on what
/// features other crates switch on, and an asynchronous one fails on their threads.
struct Client {
    inner: reqwest::blocking::Client,
    headers: HeaderMap,
}

impl Client {
    fn new(endpoint: &Endpoint, timeout: Duration) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &endpoint.headers {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| format!("the header {name} cannot be sent"))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        // A blocking client must not be built inside a runtime, where `init` may well be called.
        let built = std::thread::spawn(move || {
            let builder = reqwest::blocking::Client::builder().timeout(timeout);
            builder.redirect(reqwest::redirect::Policy::none()).build()
        });
        let inner = built
            .join()
            .map_err(|_| "its HTTP client could not be built".to_owned())?;
        let inner =
            inner.map_err(|error| format!("its HTTP client could not be built: {error}"))?;
        Ok(Self { inner, headers })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // Last, so that OTEL_EXPORTER_OTLP_HEADERS, meant for a collector, replaces no token.
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        self.inner.send_bytes(request).await
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client(..)")
    }
}
