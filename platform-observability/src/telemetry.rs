//! Start-up and shutdown.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};

use crate::Error;
use crate::config::{Axiom, Chosen, Destinations, Environment, Propagator, read};
use crate::export::Providers;
use crate::http::HttpLayer;
use crate::subscriber;

/// How long a shutdown may take, unless the service says otherwise.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// How long a `Telemetry` that is dropped without a shutdown may hold its thread up.
const DROP: Duration = Duration::from_secs(2);

/// The telemetry of this process: keep it until the end, and [shut it down](Self::shutdown).
#[derive(Debug)]
#[must_use = "dropped, it stops exporting"]
pub struct Telemetry {
    // None once it was shut down.
    providers: Option<Providers>,
    layer: HttpLayer,
    propagators: Vec<Propagator>,
    deadline: Duration,
}

impl Telemetry {
    /// Sets up traces, metrics and logs of `service` for this process, as the environment says:
    ///
    /// - `AXIOM_TOKEN` (`xaat-…`): to Axiom. `AXIOM_EDGE` names another edge than
    ///   `us-east-1.aws.edge.axiom.co`, `AXIOM_EDGE_URL` or `AXIOM_URL` a whole URL, and
    ///   `AXIOM_TRACES_DATASET`, `AXIOM_METRICS_DATASET` and `AXIOM_LOGS_DATASET` the datasets
    ///   (by default `<service>-traces` and so on).
    /// - else `OTEL_EXPORTER_OTLP_ENDPOINT`, or one for each signal
    ///   (`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, …): to that collector, as OTLP/HTTP protobuf, with
    ///   `OTEL_EXPORTER_OTLP_HEADERS`, `…_COMPRESSION` and `…_TIMEOUT` honoured.
    /// - else: readable lines on standard error.
    ///
    /// `OTEL_SDK_DISABLED`, `OTEL_{TRACES,METRICS,LOGS}_EXPORTER` (`otlp`, `console`, `none`),
    /// `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_PROPAGATORS`,
    /// `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, `OTEL_BLRP_*`, `OTEL_METRIC_EXPORT_INTERVAL` and
    /// `RUST_LOG` are honoured. Where logs are exported, standard error shows warnings and errors.
    ///
    /// It needs no runtime and may be called inside one; exports run on threads of their own.
    ///
    /// # Errors
    ///
    /// When a variable holds what it cannot mean, or when telemetry or another `tracing`
    /// subscriber is set up already.
    pub fn init(service: impl Into<String>) -> Result<Self, Error> {
        Self::builder(service).init()
    }

    /// Telemetry of `service` with settings of its own.
    pub fn builder(service: impl Into<String>) -> TelemetryBuilder {
        TelemetryBuilder {
            service: service.into(),
            version: None,
            environment: None,
            chosen: Chosen::default(),
            log_filter: "info".to_owned(),
            deadline: SHUTDOWN,
        }
    }

    /// The layer for the service's router; see [`http`](crate::http).
    pub fn layer(&self) -> HttpLayer {
        self.layer.clone()
    }

    /// Sends what is queued and stops, within the deadline; from any runtime, or none but an
    /// executor.
    ///
    /// # Errors
    ///
    /// When an endpoint did not take what was left, or not in time.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        let Some(providers) = self.providers.take() else {
            return Ok(());
        };
        let deadline = self.deadline;
        let (answer, answered) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            // Nobody listens any more if the caller was cancelled.
            let _ = answer.send(shut_down_within(providers, deadline));
        });
        answered
            .await
            .unwrap_or(Err(Error::ShutdownTimedOut(deadline)))
    }
}

/// Blocks until the providers have stopped, at most until the deadline.
fn shut_down_within(providers: Providers, deadline: Duration) -> Result<(), Error> {
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = done.send(providers.shut_down(deadline));
    });
    ended
        .recv_timeout(deadline)
        .unwrap_or(Err(Error::ShutdownTimedOut(deadline)))
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let Some(providers) = self.providers.take() else {
            return;
        };
        // There is nobody to tell if it fails.
        let _ = shut_down_within(providers, DROP);
    }
}

/// Settings that the code decides; made by [`Telemetry::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is set up before `init`"]
pub struct TelemetryBuilder {
    service: String,
    version: Option<String>,
    environment: Option<String>,
    chosen: Chosen,
    log_filter: String,
    deadline: Duration,
}

impl TelemetryBuilder {
    /// `service.version`, such as `env!("CARGO_PKG_VERSION")`.
    pub fn service_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// `deployment.environment.name`, such as `staging`.
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.environment = Some(name.into());
        self
    }

    /// Sends all signals to Axiom, whatever the environment names.
    pub fn axiom(mut self, axiom: Axiom) -> Self {
        self.chosen = Chosen::Axiom(axiom);
        self
    }

    /// Sends all signals to the collector at this base URL, whatever the environment names.
    pub fn otlp(mut self, endpoint: impl Into<String>) -> Self {
        self.chosen = Chosen::Otlp(endpoint.into());
        self
    }

    /// Sends nothing; lines on standard error.
    pub fn console(mut self) -> Self {
        self.chosen = Chosen::Console;
        self
    }

    /// What is logged where `RUST_LOG` says nothing, such as `info,my_service=debug`; by default
    /// `info`.
    pub fn log_filter(mut self, directives: impl Into<String>) -> Self {
        self.log_filter = directives.into();
        self
    }

    /// How long [`Telemetry::shutdown`] may take; by default 10 seconds.
    pub fn shutdown_within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets it up for this process.
    ///
    /// # Errors
    ///
    /// As [`Telemetry::init`].
    pub fn init(self) -> Result<Telemetry, Error> {
        let environment = |name: &str| std::env::var(name).ok();
        let (telemetry, dispatch) = self.assemble(&environment)?;
        tracing::dispatcher::set_global_default(dispatch).map_err(|_| Error::AlreadyInstalled)?;
        if let Some(providers) = &telemetry.providers {
            opentelemetry::global::set_tracer_provider(providers.tracer.clone());
            if let Some(meter) = &providers.meter {
                opentelemetry::global::set_meter_provider(meter.clone());
            }
            let formats = formats(&telemetry.propagators);
            opentelemetry::global::set_text_map_propagator(TextMapCompositePropagator::new(
                formats,
            ));
        }
        Ok(telemetry)
    }

    fn assemble(
        self,
        environment: Environment<'_>,
    ) -> Result<(Telemetry, tracing::Dispatch), Error> {
        let service = read("OTEL_SERVICE_NAME", environment).unwrap_or(self.service);
        if service.trim().is_empty() {
            return Err(Error::NoServiceName);
        }
        let destinations = Destinations::resolve(&service, &self.chosen, environment)?;
        let mut resource = Resource::builder().with_service_name(service);
        if let Some(version) = self.version {
            resource = resource.with_attribute(KeyValue::new("service.version", version));
        }
        if let Some(name) = self.environment {
            resource = resource.with_attribute(KeyValue::new("deployment.environment.name", name));
        }
        let log_filter = read("RUST_LOG", environment).unwrap_or(self.log_filter);
        let providers = Providers::new(&destinations, resource.build())?;
        let subscriber = subscriber::new(&providers, &destinations, &log_filter)?;

        let propagator = TextMapCompositePropagator::new(formats(&destinations.propagators));
        let meter = match &providers.meter {
            Some(provider) => {
                opentelemetry::metrics::MeterProvider::meter(provider, "platform-observability")
            }
            None => opentelemetry::global::meter("platform-observability"),
        };
        let layer = HttpLayer::new(&meter, propagator);
        let telemetry = Telemetry {
            providers: Some(providers),
            layer,
            propagators: destinations.propagators,
            deadline: self.deadline,
        };
        Ok((telemetry, tracing::Dispatch::new(subscriber)))
    }
}

fn formats(propagators: &[Propagator]) -> Vec<Box<dyn TextMapPropagator + Send + Sync>> {
    propagators
        .iter()
        .map(|propagator| -> Box<dyn TextMapPropagator + Send + Sync> {
            match propagator {
                Propagator::TraceContext => Box::new(TraceContextPropagator::new()),
                Propagator::Baggage => Box::new(BaggagePropagator::new()),
            }
        })
        .collect()
}
