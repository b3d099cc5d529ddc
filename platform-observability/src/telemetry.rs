//! Start-up and shutdown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::metrics::{Meter, MeterProvider, NoopMeterProvider};
use opentelemetry_semantic_conventions::attribute as attr;

use crate::build_info::BuildInfo;
use crate::config::{Axiom, Config, Env, Exporter, ExporterChoice, Limits, resource};
use crate::database::{Database, StatementLayer};
use crate::error::Error;
use crate::export::{ExportStats, Providers, Spool, Status};
use crate::http::{HttpClientLayer, HttpLayer};
use crate::instrumentation::SCOPE;
use crate::messaging;
use crate::panic::log_panics;
use crate::pool::{self, PoolState};
use crate::process;
use crate::signal::PerSignal;
use crate::subscriber::{self, DEFAULT_FILTER, Filter, LogFilter};
use crate::tracer::{Tracer, TracerProvider};

/// The default shutdown timeout.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the drop of a `Telemetry` that was not shut down may block its thread.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// The telemetry of this process. Keep it until the end, then [shut it down](Self::shutdown).
///
/// If it is dropped instead, it exports the queued telemetry, for at most two seconds.
#[derive(Debug)]
#[must_use = "dropping it stops the export"]
pub struct Telemetry {
    /// `None` once it is shut down.
    providers: Option<Providers>,
    meter: Meter,
    stats: PerSignal<Arc<ExportStats>>,
    log_filter: LogFilter,
    layer: HttpLayer,
    client_layer: HttpClientLayer,
    shutdown_timeout: Duration,
}

impl Telemetry {
    /// Sets up traces, metrics and logs of `service` for this process, by these environment
    /// variables:
    ///
    /// - With `AXIOM_TOKEN` (`xaat-…`), telemetry is exported to Axiom, compressed with gzip.
    ///   `AXIOM_EDGE` selects another edge than `us-east-1`, by its region or host, and
    ///   `AXIOM_EDGE_URL` by its URL. `AXIOM_URL`, the base URL of Axiom's API, is used if neither
    ///   is set and it names another host, such as a proxy: the API does not accept OTLP.
    ///   `AXIOM_TRACES_DATASET`, `AXIOM_METRICS_DATASET` and `AXIOM_LOGS_DATASET` select other
    ///   datasets than `<service>-traces`, `<service>-metrics` and `<service>-logs`.
    /// - Else, with `OTEL_EXPORTER_OTLP_ENDPOINT`, or a signal's own variable such as
    ///   `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, telemetry is exported to that collector, as OTLP
    ///   over HTTP with protobuf. Also supported are `OTEL_EXPORTER_OTLP_HEADERS`, `…_COMPRESSION`
    ///   (`gzip`, `none` and, with the feature `zstd`, `zstd`; for Axiom, too), `…_TIMEOUT`
    ///   (milliseconds), and the PEM files `…_CERTIFICATE`, `…_CLIENT_CERTIFICATE` and
    ///   `…_CLIENT_KEY`, or the signal's own variables.
    /// - Else, each request is written to standard error when it has ended, with its spans, events
    ///   and audit records; events outside requests are written immediately. Terminals get colours,
    ///   unless `NO_COLOR` or `CLICOLOR_FORCE` override that. A request is buffered for at most 5
    ///   seconds, 64 KiB and 256 entries; beyond that, its entries are written immediately or only
    ///   counted.
    ///
    /// With an endpoint, log lines are also written to standard error. Further variables:
    /// `OTEL_SDK_DISABLED`, `OTEL_{TRACES,METRICS,LOGS}_EXPORTER` (`otlp`, `console`, `none`),
    /// `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_PROPAGATORS` (`tracecontext`,
    /// `baggage`, `none`), `OTEL_TRACES_SAMPLER` and `…_ARG`,
    /// `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`, `RUST_LOG`,
    /// `OTEL_{BSP,BLRP}_{MAX_QUEUE_SIZE,MAX_EXPORT_BATCH_SIZE,SCHEDULE_DELAY,EXPORT_TIMEOUT}`,
    /// `OTEL_METRIC_EXPORT_{INTERVAL,TIMEOUT}`,
    /// `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` and `…_DEFAULT_HISTOGRAM_AGGREGATION`
    /// (`explicit_bucket_histogram`). [`Limits`] reads
    /// `OTEL_{ATTRIBUTE,SPAN_ATTRIBUTE,LOGRECORD_ATTRIBUTE}_{COUNT,VALUE_LENGTH}_LIMIT`,
    /// `OTEL_SPAN_{EVENT,LINK}_COUNT_LIMIT` and `OTEL_{EVENT,LINK}_ATTRIBUTE_COUNT_LIMIT`.
    ///
    /// This installs the global `tracing` subscriber; a panic hook that logs a panic's location,
    /// and its message if that is a literal or the console is used; and OpenTelemetry's global
    /// tracer provider, meter provider and propagator. It needs no runtime, and may be called
    /// inside one: exports run on threads of their own.
    ///
    /// # Errors
    ///
    /// If a variable is invalid, or if telemetry or another `tracing` subscriber is already set up.
    /// Then nothing is installed.
    pub fn init(service: impl Into<String>) -> Result<Self, Error> {
        Self::builder(service).init()
    }

    /// Configures the telemetry of `service` in code.
    pub fn builder(service: impl Into<String>) -> TelemetryBuilder {
        TelemetryBuilder {
            service: service.into(),
            version: None,
            build: BuildInfo::default(),
            environment: None,
            exporter: ExporterChoice::default(),
            log_filter: DEFAULT_FILTER.to_owned(),
            database: None,
            limits: Limits::default(),
            spool: None,
            shutdown_timeout: SHUTDOWN_TIMEOUT,
        }
    }

    /// The layer for the service's router.
    #[must_use]
    pub fn layer(&self) -> HttpLayer {
        self.layer.clone()
    }

    /// The layer for an HTTP client.
    #[must_use]
    pub fn client_layer(&self) -> HttpClientLayer {
        self.client_layer.clone()
    }

    /// Observes a connection pool under `name`: the numbers of idle and used connections
    /// (`db.client.connection.count`), and their maximum (`db.client.connection.max`).
    ///
    /// `read` is called at each export, and returns `None` once the pool is closed. With
    /// sqlx:
    ///
    /// ```text
    /// telemetry.observe_pool("ledger", move || {
    ///     (!pool.is_closed()).then(|| PoolState {
    ///         size: pool.size(),
    ///         idle: pool.num_idle(),
    ///         max: pool.options().get_max_connections(),
    ///     })
    /// });
    /// ```
    pub fn observe_pool(
        &self,
        name: &str,
        read: impl Fn() -> Option<PoolState> + Clone + Send + Sync + 'static,
    ) {
        pool::observe(&self.meter, name, read);
    }

    /// Exports a span, a log record and the current metrics, and waits for the endpoints to accept
    /// them; at start-up, this detects a wrong token or dataset. The span bypasses the sampler. On
    /// success, one line with the endpoints is logged. Each signal takes at most as long as an
    /// export: 10 seconds, or `OTEL_EXPORTER_OTLP_TIMEOUT`; with a spool, up to 30 seconds more.
    ///
    /// # Errors
    ///
    /// If an endpoint did not accept them; the message has one line. Telemetry continues to work.
    pub async fn self_test(&self) -> Result<(), Error> {
        let Some(providers) = self.providers.clone() else {
            return Ok(());
        };
        let (done, result) = tokio::sync::oneshot::channel();
        providers.self_test(|result| {
            // The caller may have stopped waiting.
            let _ = done.send(result);
        })?;
        let failures = "the self-test panicked".to_owned();
        result.await.unwrap_or(Err(Error::SelfTest { failures }))
    }

    /// The log filter, which can be changed at runtime.
    #[must_use]
    pub fn log_filter(&self) -> LogFilter {
        self.log_filter.clone()
    }

    /// How many items were exported, are waiting or were dropped so far, and why.
    #[must_use]
    pub fn status(&self) -> Status {
        PerSignal::from_fn(|signal| self.stats[signal].status())
    }

    /// Exports the queued telemetry, for at most half the shutdown timeout. The elapsed time is
    /// subtracted from the shutdown timeout.
    pub(crate) async fn flush(&mut self) {
        let Some(providers) = self.providers.clone() else {
            return;
        };
        let started = Instant::now();
        let (done, ended) = tokio::sync::oneshot::channel();
        let flushing = providers.flush(self.shutdown_timeout / 2, || {
            // The caller may have stopped waiting.
            let _ = done.send(());
        });
        if flushing.is_ok() {
            let _ = ended.await;
        }
        self.shutdown_timeout = self.shutdown_timeout.saturating_sub(started.elapsed());
    }

    /// Exports the queued telemetry, and stops, within the shutdown timeout (10 seconds by
    /// default).
    ///
    /// Call it when the server has stopped, on any runtime or executor, also after a panic. Spans
    /// that have not ended by then, and events that are logged meanwhile, are lost.
    ///
    /// # Errors
    ///
    /// If an endpoint did not accept the queued telemetry, or not in time.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        let Some(providers) = self.providers.take() else {
            return Ok(());
        };
        let (done, result) = tokio::sync::oneshot::channel();
        let timeout = self.shutdown_timeout;
        providers.shut_down(timeout, |result| {
            // The caller may have stopped waiting.
            let _ = done.send(result);
        })?;
        // Without a result, the thread has panicked, which the panic hook reports.
        result
            .await
            .unwrap_or(Err(Error::ShutdownTimedOut { timeout }))
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let Some(providers) = self.providers.take() else {
            return;
        };
        let (done, ended) = std::sync::mpsc::channel();
        let timeout = self.shutdown_timeout.min(DROP_TIMEOUT);
        let stopping = providers.shut_down(timeout, move |_| {
            let _ = done.send(());
        });
        if stopping.is_ok() {
            let _ = ended.recv_timeout(timeout);
        }
    }
}

/// Configures telemetry in code; created by [`Telemetry::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is set up before `init`"]
pub struct TelemetryBuilder {
    service: String,
    version: Option<String>,
    build: BuildInfo,
    environment: Option<String>,
    exporter: ExporterChoice,
    log_filter: String,
    database: Option<Database>,
    limits: Limits,
    spool: Option<Spool>,
    shutdown_timeout: Duration,
}

impl TelemetryBuilder {
    /// Sets `service.version`, such as `env!("CARGO_PKG_VERSION")`.
    pub fn service_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets `service.version` and, as far as they were known at compile time,
    /// `vcs.ref.head.revision`, `vcs.ref.head.name` and `vcs.repository.url.full`. See
    /// [`build_info!`](crate::build_info).
    pub fn build_info(mut self, info: BuildInfo) -> Self {
        self.version = Some(info.version.clone());
        self.build = info;
        self
    }

    /// Sets `deployment.environment.name`, such as `staging`.
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.environment = Some(name.into());
        self
    }

    /// Exports all signals to Axiom. Overrides the environment's endpoint.
    pub fn axiom(mut self, axiom: Axiom) -> Self {
        self.exporter = ExporterChoice::Axiom(axiom);
        self
    }

    /// Exports all signals to the collector at this base URL, such as `http://collector:4318`.
    /// Overrides the environment's endpoint.
    pub fn otlp(mut self, endpoint: impl Into<String>) -> Self {
        self.exporter = ExporterChoice::Otlp(endpoint.into());
        self
    }

    /// Exports nothing, and writes to standard error. Overrides the environment's endpoint.
    pub fn console(mut self) -> Self {
        self.exporter = ExporterChoice::Console;
        self
    }

    /// Sets the log filter if `RUST_LOG` is not set, such as `info,my_service=debug`; by default
    /// `info`. The syntax is that of tracing-subscriber's `EnvFilter`.
    pub fn log_filter(mut self, directives: impl Into<String>) -> Self {
        self.log_filter = directives.into();
        self
    }

    /// Records each of sqlx's statements, as a span and in `db.client.operation.duration`; see
    /// [`Database`] for what is recorded, and for the limitations. By default statements are not
    /// recorded, and sqlx does not even format them.
    pub fn database(mut self, database: Database) -> Self {
        self.database = Some(database);
        self
    }

    /// Sets the limits of spans and log records if the environment does not.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Stores telemetry on disk until the endpoint accepts it. By default nothing is stored:
    /// telemetry is retried for a while, and then dropped and counted.
    pub fn spool(mut self, spool: Spool) -> Self {
        self.spool = Some(spool);
        self
    }

    /// Sets how long [`Telemetry::shutdown`] may take; by default 10 seconds.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Sets up telemetry for this process.
    ///
    /// # Errors
    ///
    /// Those of [`Telemetry::init`].
    pub fn init(self) -> Result<Telemetry, Error> {
        if INITIALIZED.swap(true, Ordering::SeqCst) {
            return Err(Error::AlreadyInitialized);
        }
        let installed = self.install(Env(&|name| std::env::var_os(name)));
        if installed.is_err() {
            INITIALIZED.store(false, Ordering::SeqCst);
        }
        installed
    }

    fn install(self, env: Env<'_>) -> Result<Telemetry, Error> {
        let attributes = resource_attributes(self.version, self.environment, self.build);
        let (service, resource) = resource(&self.service, attributes, env)?;
        let config = Config::resolve(&service, &self.exporter, self.limits, env)?;
        let rust_log = env.string("RUST_LOG")?;
        let filter = Filter {
            from_environment: rust_log.is_some(),
            directives: rust_log.unwrap_or(self.log_filter),
        };
        let spool = self.spool.map(Spool::open).transpose()?;
        let providers = Providers::new(&config, &resource, spool.as_ref())?;
        let meter = match &providers.meter {
            Some(provider) => provider.meter(SCOPE),
            None => NoopMeterProvider::new().meter(SCOPE),
        };
        let tracer = providers.tracer.as_ref();
        let tracer = tracer.map(|provider| Tracer::new(provider, SCOPE));
        let has_console = config.exporters.traces == Exporter::Console;
        let statements = self
            .database
            .map(|database| StatementLayer::new(&database, &meter, tracer.clone()));
        let (subscriber, log_filter) =
            subscriber::new(&providers, filter, has_console, statements)?;
        if providers.meter.is_some() {
            process::observe(&meter);
        }
        let propagator = config.propagator;
        let (sampling, methods) = (config.sampling, config.methods);
        let layer = HttpLayer::new(&meter, tracer, propagator.clone(), sampling, has_console);
        let client_layer = HttpClientLayer::new(&meter, propagator.clone());
        let telemetry = Telemetry {
            meter: meter.clone(),
            log_filter,
            layer: layer.known_methods(methods),
            client_layer: client_layer.known_methods(methods),
            stats: providers.stats.clone(),
            providers: Some(providers.clone()),
            shutdown_timeout: self.shutdown_timeout,
        };
        tracing::dispatcher::set_global_default(subscriber)
            .map_err(|_| Error::SubscriberInstalled)?;
        // Not before, as a failed `init` must leave no thread behind.
        providers.start()?;
        messaging::Instruments::install(&meter);
        log_panics(config.exporters.logs == Exporter::Console);
        opentelemetry::global::set_text_map_propagator(propagator);
        if let Some(tracer) = providers.tracer {
            opentelemetry::global::set_tracer_provider(TracerProvider(tracer));
        }
        if let Some(meter) = providers.meter {
            opentelemetry::global::set_meter_provider(meter);
        }
        Ok(telemetry)
    }
}

/// The resource attributes that are set in code.
pub(crate) fn resource_attributes(
    version: Option<String>,
    environment: Option<String>,
    build: BuildInfo,
) -> [(&'static str, Option<String>); 5] {
    [
        (attr::SERVICE_VERSION, version),
        (attr::DEPLOYMENT_ENVIRONMENT_NAME, environment),
        (attr::VCS_REF_HEAD_REVISION, build.revision),
        (attr::VCS_REF_HEAD_NAME, build.ref_name),
        (attr::VCS_REPOSITORY_URL_FULL, build.repository),
    ]
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{Env, Spool, Telemetry};

    #[test]
    fn a_failed_init_releases_the_spool() {
        let directory = tempfile::tempdir().unwrap();
        let spool = || Spool::new(directory.path().join("spool"));
        let invalid = |name: &str| (name == "RUST_LOG").then(|| OsString::from("mine=loud"));
        let error = Telemetry::builder("accounting")
            .otlp("http://127.0.0.1:1")
            .spool(spool())
            .install(Env(&invalid))
            .unwrap_err();
        assert!(error.to_string().starts_with("RUST_LOG "), "{error}");
        spool().open().expect("the directory is not locked");
    }
}
