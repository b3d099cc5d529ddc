//! Start-up and shutdown.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::metrics::{Meter, MeterProvider, NoopMeterProvider};

use crate::build_info::BuildInfo;
use crate::client::HttpClientLayer;
use crate::config::{Axiom, Chosen, Destination, Destinations, Limits, Variables, resource};
use crate::database::{Database, Statements};
use crate::error::Error;
use crate::export::{Ledgers, Providers, Spool, Status};
use crate::http::HttpLayer;
use crate::messaging;
use crate::panic::log_panics;
use crate::pool::{self, PoolUse};
use crate::process;
use crate::subscriber::{self, DEFAULT_FILTER, Filter, LogFilter};
use crate::tracer::{Tracer, TracerProvider};

/// How long a shutdown may take, unless the service says otherwise.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// How long a `Telemetry` that is dropped without a shutdown may hold its thread up.
const DROP: Duration = Duration::from_secs(2);

/// The instrumentation scope of what this crate traces and measures.
pub(crate) const SCOPE: &str = "platform-observability";

static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// The telemetry of this process. Keep it until the end, then [shut it down](Self::shutdown).
///
/// Dropped instead, it sends what is queued for at most two seconds.
#[derive(Debug)]
#[must_use = "dropped, it stops exporting"]
pub struct Telemetry {
    // None once it was shut down.
    providers: Option<Providers>,
    meter: Meter,
    ledgers: Ledgers,
    log_filter: LogFilter,
    layer: HttpLayer,
    client: HttpClientLayer,
    deadline: Duration,
}

impl Telemetry {
    /// Sets up traces, metrics and logs of `service` for this process, as the environment says:
    ///
    /// - `AXIOM_TOKEN` (`xaat-…`): to Axiom, gzipped. `AXIOM_EDGE` names another edge than
    ///   `us-east-1` (a region or a host), `AXIOM_EDGE_URL` a whole URL. `AXIOM_URL`, the base of
    ///   Axiom's whole API, counts where neither is set and it names another host than Axiom's API,
    ///   which takes no OTLP: a proxy, say.
    ///   `AXIOM_TRACES_DATASET`, `AXIOM_METRICS_DATASET`, `AXIOM_LOGS_DATASET` name other datasets than
    ///   `<service>-traces`, `<service>-metrics` and `<service>-logs`.
    /// - else `OTEL_EXPORTER_OTLP_ENDPOINT`, or the signals' own
    ///   `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and so on: to that collector, as OTLP/HTTP protobuf,
    ///   with `OTEL_EXPORTER_OTLP_HEADERS`, `…_COMPRESSION` (`gzip`, `none`,
    ///   and with the feature `zstd` also `zstd`; for Axiom too), `…_TIMEOUT`
    ///   (milliseconds), and `…_CERTIFICATE`, `…_CLIENT_CERTIFICATE` and `…_CLIENT_KEY` (files of
    ///   PEM), or the signals' own.
    /// - else: each request on standard error when it has ended, with its spans, events and audit
    ///   records below; what belongs to no request, at once. In colours on a terminal, or as
    ///   `NO_COLOR` and `CLICOLOR_FORCE` say. Of a request that lasts longer than 5 seconds, or logs
    ///   more than 64 KiB or 256 entries, the rest is shown at once or counted.
    ///
    /// Log lines go to standard error in any case. Also honoured: `OTEL_SDK_DISABLED`,
    /// `OTEL_{TRACES,METRICS,LOGS}_EXPORTER` (`otlp`, `console`, `none`), `OTEL_SERVICE_NAME`,
    /// `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_PROPAGATORS` (`tracecontext`, `baggage`, `none`),
    /// `OTEL_TRACES_SAMPLER` and `…_ARG`, `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`, `RUST_LOG`,
    /// `OTEL_{BSP,BLRP}_{MAX_QUEUE_SIZE,MAX_EXPORT_BATCH_SIZE,SCHEDULE_DELAY,EXPORT_TIMEOUT}`,
    /// `OTEL_METRIC_EXPORT_{INTERVAL,TIMEOUT}`,
    /// `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` and `…_DEFAULT_HISTOGRAM_AGGREGATION`
    /// (`explicit_bucket_histogram`). The limits of attributes, events
    /// and links are those of [`Limits`]: `OTEL_{ATTRIBUTE,SPAN_ATTRIBUTE,LOGRECORD_ATTRIBUTE}_{COUNT,VALUE_LENGTH}_LIMIT`,
    /// `OTEL_SPAN_{EVENT,LINK}_COUNT_LIMIT` and `OTEL_{EVENT,LINK}_ATTRIBUTE_COUNT_LIMIT`.
    ///
    /// It sets the global `tracing` subscriber, a panic hook that logs where a panic happened (its
    /// message only if that is a literal, or on the console), and OpenTelemetry's global tracer
    /// provider, meter provider and propagator. It needs no runtime, and may be called inside one; exports run on
    /// threads of their own.
    ///
    /// # Errors
    ///
    /// When a variable holds what it cannot mean, and when telemetry or another `tracing`
    /// subscriber was set up before. Nothing is set up then.
    pub fn init(service: impl Into<String>) -> Result<Self, Error> {
        Self::builder(service).init()
    }

    /// Telemetry of `service` with settings of its own.
    pub fn builder(service: impl Into<String>) -> TelemetryBuilder {
        TelemetryBuilder {
            service: service.into(),
            version: None,
            build: BuildInfo::default(),
            environment: None,
            chosen: Chosen::default(),
            log_filter: DEFAULT_FILTER.to_owned(),
            database: None,
            limits: Limits::default(),
            spool: None,
            deadline: SHUTDOWN,
        }
    }

    /// The layer for the service's router; see [`http`](crate::http) for where it belongs.
    #[must_use]
    pub fn layer(&self) -> HttpLayer {
        self.layer.clone()
    }

    /// Measures a pool of connections from now on, under `name`: how many are idle or used
    /// (`db.client.connection.count`), and how many there may be (`db.client.connection.max`).
    ///
    /// `read` is asked at each export, and says nothing once the pool is closed. For one of sqlx's:
    ///
    /// ```text
    /// telemetry.observe_pool("ledger", move || {
    ///     (!pool.is_closed()).then(|| PoolUse {
    ///         size: pool.size(),
    ///         idle: pool.num_idle(),
    ///         max: pool.options().get_max_connections(),
    ///     })
    /// });
    /// ```
    pub fn observe_pool(
        &self,
        name: &str,
        read: impl Fn() -> Option<PoolUse> + Clone + Send + Sync + 'static,
    ) {
        pool::observe(&self.meter, name, read);
    }

    /// Sends a span, whatever the sampler, a log record and the metrics there are, and says whether
    /// the endpoints took them: at start-up it tells a wrong token or dataset from a right one. If
    /// they did, it logs a line that says so and where they are. For each signal it takes as long
    /// as an export at most: 10 seconds, or as `OTEL_EXPORTER_OTLP_TIMEOUT` says where that counts;
    /// with a spool 30 seconds more.
    ///
    /// # Errors
    ///
    /// When an endpoint did not take them; why is in the message, one line. Telemetry works on all
    /// the same.
    pub async fn self_test(&self) -> Result<(), Error> {
        let Some(providers) = self.providers.clone() else {
            return Ok(());
        };
        let (done, ended) = tokio::sync::oneshot::channel();
        providers.self_test(|result| {
            // The caller may have stopped waiting.
            let _ = done.send(result);
        })?;
        let failed = || Error::SelfTest {
            failures: "its thread died".to_owned(),
        };
        ended.await.unwrap_or_else(|_| Err(failed()))
    }

    /// What is logged, to be changed while the service runs.
    #[must_use]
    pub fn log_filter(&self) -> LogFilter {
        self.log_filter.clone()
    }

    /// What became of the telemetry so far: sent, waiting, dropped, and why.
    #[must_use]
    pub fn status(&self) -> Status {
        self.ledgers.status()
    }

    /// The layer for a client; see [`client`](crate::client) for what it records and tells whom.
    #[must_use]
    pub fn client_layer(&self) -> HttpClientLayer {
        self.client.clone()
    }

    /// Sends what is queued, for half the time that a shutdown may take at most; that which is left
    /// then has the rest.
    pub(crate) async fn flush(&mut self) {
        let Some(providers) = self.providers.clone() else {
            return;
        };
        let began = Instant::now();
        let (done, ended) = tokio::sync::oneshot::channel();
        let started = providers.flush(self.deadline / 2, || {
            // The caller may have stopped waiting.
            let _ = done.send(());
        });
        if started.is_ok() {
            let _ = ended.await;
        }
        self.deadline = self.deadline.saturating_sub(began.elapsed());
    }

    /// Sends what is queued and stops, within the deadline (10 seconds by default).
    ///
    /// Call it when the server has stopped, from any runtime or executor, also after a panic.
    /// Spans that have not ended by then, and what is logged meanwhile, are lost.
    ///
    /// # Errors
    ///
    /// When an endpoint did not take what was left, or not in time.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        let Some(providers) = self.providers.take() else {
            return Ok(());
        };
        let (done, ended) = tokio::sync::oneshot::channel();
        providers.shut_down(self.deadline, |result| {
            // The caller may have stopped waiting.
            let _ = done.send(result);
        })?;
        // Without a result the thread has died, which it tells on standard error.
        ended.await.unwrap_or(Err(Error::ShutdownTimedOut {
            deadline: self.deadline,
        }))
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let Some(providers) = self.providers.take() else {
            return;
        };
        let (done, ended) = std::sync::mpsc::channel();
        let deadline = self.deadline.min(DROP);
        let started = providers.shut_down(deadline, move |_| {
            let _ = done.send(());
        });
        if started.is_ok() {
            let _ = ended.recv_timeout(deadline);
        }
    }
}

/// Settings that the code decides; made by [`Telemetry::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is set up before `init`"]
pub struct TelemetryBuilder {
    service: String,
    version: Option<String>,
    build: BuildInfo,
    environment: Option<String>,
    chosen: Chosen,
    log_filter: String,
    database: Option<Database>,
    limits: Limits,
    spool: Option<Spool>,
    deadline: Duration,
}

impl TelemetryBuilder {
    /// `service.version`, such as `env!("CARGO_PKG_VERSION")`.
    pub fn service_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// What the service was built from: `service.version` and, where the compiler was told,
    /// `vcs.ref.head.revision`, `vcs.ref.head.name` and `vcs.repository.url.full`. See
    /// [`build_info!`](crate::build_info).
    pub fn build_info(mut self, info: BuildInfo) -> Self {
        self.version = Some(info.version.clone());
        self.build = info;
        self
    }

    /// `deployment.environment.name`, such as `staging`.
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.environment = Some(name.into());
        self
    }

    /// Sends all signals to Axiom, whatever endpoint the environment names.
    pub fn axiom(mut self, axiom: Axiom) -> Self {
        self.chosen = Chosen::Axiom(axiom);
        self
    }

    /// Sends all signals to the collector at this base URL, such as `http://collector:4318`,
    /// whatever endpoint the environment names.
    pub fn otlp(mut self, endpoint: impl Into<String>) -> Self {
        self.chosen = Chosen::Otlp(endpoint.into());
        self
    }

    /// Sends nothing, whatever endpoint the environment names: lines on standard error.
    pub fn console(mut self) -> Self {
        self.chosen = Chosen::Console;
        self
    }

    /// What is logged where `RUST_LOG` says nothing, such as `info,my_service=debug`; by default
    /// `info`. The syntax is that of tracing-subscriber's `EnvFilter`.
    pub fn log_filter(mut self, directives: impl Into<String>) -> Self {
        self.log_filter = directives.into();
        self
    }

    /// Records each statement that sqlx sends, as a span and in `db.client.operation.duration`; see
    /// [`Database`] for what is recorded, and what cannot be known. By default none is, and sqlx
    /// does not even format them.
    pub fn database(mut self, database: Database) -> Self {
        self.database = Some(database);
        self
    }

    /// How much a span or a log record may hold, where the environment says nothing.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Keeps on disk what an endpoint does not take, until it does. By default nothing is kept: it
    /// is tried for a while, and then dropped and counted.
    pub fn spool(mut self, spool: Spool) -> Self {
        self.spool = Some(spool);
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
        if INITIALIZED.swap(true, Ordering::SeqCst) {
            return Err(Error::AlreadyInitialized);
        }
        let installed = self.install(Variables(&|name| std::env::var_os(name)));
        if installed.is_err() {
            INITIALIZED.store(false, Ordering::SeqCst);
        }
        installed
    }

    fn install(self, variables: Variables<'_>) -> Result<Telemetry, Error> {
        let coded = coded(self.version, self.environment, self.build);
        let (service, resource) = resource(&self.service, coded, variables)?;
        let destinations = Destinations::resolve(&service, &self.chosen, self.limits, variables)?;
        let from_environment = variables.read("RUST_LOG")?;
        let filter = Filter {
            from_environment: from_environment.is_some(),
            directives: from_environment.unwrap_or(self.log_filter),
        };
        let spool = self.spool.map(Spool::open).transpose()?;
        let providers = Providers::new(&destinations, &resource, spool.as_ref())?;
        let meter = meter(&providers);
        let shows_requests = destinations.traces == Destination::Console;
        let statements = self.database.map(|database| {
            let tracer = providers.tracer.as_ref();
            let tracer = tracer.map(|provider| Tracer::of(provider, SCOPE));
            Statements::new(&database, &meter, tracer)
        });
        let (subscriber, log_filter) =
            subscriber::new(&providers, filter, shows_requests, statements)?;
        if providers.meter.is_some() {
            process::observe(&meter);
        }
        let telemetry = Telemetry {
            meter: meter.clone(),
            log_filter,
            layer: layer(&meter, &providers, &destinations),
            ledgers: providers.ledgers.clone(),
            client: HttpClientLayer::new(&meter, destinations.propagation.clone())
                .methods(destinations.methods),
            providers: Some(providers.clone()),
            deadline: self.deadline,
        };
        tracing::dispatcher::set_global_default(subscriber)
            .map_err(|_| Error::SubscriberInstalled)?;
        // Not before, as nothing may go on when this fails.
        providers.start()?;
        messaging::Instruments::install(&meter);
        log_panics(destinations.logs == Destination::Console);
        opentelemetry::global::set_text_map_propagator(destinations.propagation.clone());
        if let Some(tracer) = providers.tracer {
            opentelemetry::global::set_tracer_provider(TracerProvider(tracer));
        }
        if let Some(meter) = providers.meter {
            opentelemetry::global::set_meter_provider(meter);
        }
        Ok(telemetry)
    }
}

/// What the code says of the service.
pub(crate) fn coded(
    version: Option<String>,
    environment: Option<String>,
    build: BuildInfo,
) -> [(&'static str, Option<String>); 5] {
    [
        ("service.version", version),
        ("deployment.environment.name", environment),
        ("vcs.ref.head.revision", build.revision),
        ("vcs.ref.head.name", build.ref_name),
        ("vcs.repository.url.full", build.repository),
    ]
}

fn meter(providers: &Providers) -> Meter {
    match &providers.meter {
        Some(provider) => provider.meter(SCOPE),
        None => NoopMeterProvider::new().meter(SCOPE),
    }
}

fn layer(meter: &Meter, providers: &Providers, destinations: &Destinations) -> HttpLayer {
    let tracer = providers.tracer.as_ref();
    let tracer = tracer.map(|provider| Tracer::of(provider, SCOPE));
    let shows_requests = destinations.traces == Destination::Console;
    HttpLayer::new(
        meter,
        tracer,
        destinations.propagation.clone(),
        destinations.sampling,
        shows_requests,
    )
    .methods(destinations.methods)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{Spool, Telemetry, Variables};

    #[test]
    fn a_start_that_fails_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let spool = || Spool::at(directory.path().join("spool"));
        let wrong = |name: &str| (name == "RUST_LOG").then(|| OsString::from("mine=loud"));
        let error = Telemetry::builder("accounting")
            .otlp("http://127.0.0.1:1")
            .spool(spool())
            .install(Variables(&wrong))
            .unwrap_err();
        assert!(error.to_string().starts_with("RUST_LOG "), "{error}");
        spool().open().expect("the directory is free again");
    }
}
