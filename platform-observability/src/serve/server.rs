use std::fmt;
use std::pin::{Pin, pin};
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use axum::{Router, ServiceExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_layer::Layer as _;

use super::connection::AbortableListener;
use super::error::ServeError;
use super::request::{self, Peer};
use super::signals::OsSignals;
use crate::health::{Health, Readiness};
use crate::telemetry::Telemetry;

/// The default drain timeout. With the other timeouts, the shutdown takes less than the 30 seconds
/// after which Kubernetes kills the process, except in the worst case.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// The default timeout of each shutdown hook.
const HOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for the destructors of aborted requests.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Hook = Box<dyn FnOnce() -> BoxFuture<()> + Send>;

/// Serves `router` until SIGTERM or SIGINT, then shuts down gracefully.
///
/// See [`Serve`]; nothing happens before [`Serve::run`].
pub fn serve(listener: TcpListener, router: Router) -> Serve {
    Serve {
        listener,
        router,
        readiness: None,
        shutdown_delay: Duration::ZERO,
        drain_timeout: DRAIN_TIMEOUT,
        hook_timeout: HOOK_TIMEOUT,
        stop: Box::pin(std::future::pending()),
        hooks: Vec::new(),
        telemetry: None,
    }
}

/// A server that shuts down gracefully on SIGTERM or SIGINT (Ctrl-C on platforms without signals);
/// created by [`serve`].
///
/// Handlers can extract the client's address as `ConnectInfo<SocketAddr>`. The shutdown
///
/// 1. turns [`Readiness`] off, so that `/readyz` responds with 503,
/// 2. continues to serve for the [shutdown delay](Self::shutdown_delay), until load balancers send
///    no more requests,
/// 3. stops accepting connections, closes idle ones, and waits for requests, bodies included, at
///    most for the [drain timeout](Self::drain_timeout); then it aborts the remaining connections,
/// 4. exports the telemetry recorded so far, so that it is not lost if the process is killed,
/// 5. runs the [shutdown hooks](Self::on_shutdown), such as closing a pool, each at most for the
///    [hook timeout](Self::hook_timeout),
/// 6. shuts telemetry down; together with step 4 at most for its
///    [shutdown timeout](crate::TelemetryBuilder::shutdown_timeout).
///
/// A second signal ends the shutdown immediately. Only telemetry that is not shut down yet is then
/// dropped, which takes up to two seconds. The sum of these times should be below the time before
/// the process is killed, which on Kubernetes is `terminationGracePeriodSeconds`, 30 by default.
///
/// Upgraded connections, such as WebSockets, are not waited for; they are aborted after step 3. But
/// over HTTP/2 a WebSocket is one stream of a connection, and keeps the connection open until the
/// drain timeout, as does a client that has sent half a request.
#[must_use = "nothing is served before `run`"]
pub struct Serve {
    listener: TcpListener,
    router: Router,
    readiness: Option<Readiness>,
    shutdown_delay: Duration,
    drain_timeout: Duration,
    hook_timeout: Duration,
    stop: BoxFuture<()>,
    hooks: Vec<Hook>,
    telemetry: Option<Telemetry>,
}

impl Serve {
    /// Turns the readiness of `health` off during the shutdown. This does not add the routes: merge
    /// [`Health::router`].
    pub fn with_health(mut self, health: &Health) -> Self {
        self.readiness = Some(health.readiness());
        self
    }

    /// How long to continue to serve after readiness was turned off; by default not at all.
    ///
    /// Set it if a load balancer is in front of the service. If the load balancer polls `/readyz`,
    /// allow for as many probes as it needs to react. Kubernetes removes a pod's address without
    /// probing, but after it has sent SIGTERM: set 5 seconds.
    pub fn shutdown_delay(mut self, delay: Duration) -> Self {
        self.shutdown_delay = delay;
        self
    }

    /// How long to wait for requests after the server has stopped accepting connections; by default
    /// 20 seconds. Then connections are aborted, and the number of unfinished requests is logged.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// How long each [shutdown hook](Self::on_shutdown) may take; by default 5 seconds.
    pub fn hook_timeout(mut self, timeout: Duration) -> Self {
        self.hook_timeout = timeout;
        self
    }

    /// Adds a shutdown hook, which runs when no request is left; for example, to close a pool.
    ///
    /// Hooks run in the order in which they were added. One that panics, or exceeds the
    /// [hook timeout](Self::hook_timeout), is logged, and the next ones still run.
    pub fn on_shutdown<F, R>(mut self, hook: F) -> Self
    where
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.hooks
            .push(Box::new(move || Box::pin(async move { hook().await })));
        self
    }

    /// Shuts `telemetry` down at the end of the shutdown.
    pub fn with_telemetry(mut self, telemetry: Telemetry) -> Self {
        self.telemetry = Some(telemetry);
        self
    }

    /// Also shuts down when `stop` completes.
    pub fn stop_when(mut self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        self.stop = Box::pin(stop);
        self
    }

    /// Serves until the shutdown is complete. If this future is dropped before, all connections are
    /// aborted.
    ///
    /// Afterwards SIGTERM and SIGINT no longer end the process: let `main` return.
    ///
    /// # Errors
    ///
    /// If signal handlers cannot be installed, if a second signal arrives, or if telemetry is not
    /// shut down cleanly. Aborted requests are logged, but are not an error.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O and time.
    pub async fn run(self) -> Result<(), ServeError> {
        let mut signals = OsSignals::listen().map_err(|source| ServeError::Signals { source })?;
        if let Ok(address) = self.listener.local_addr() {
            tracing::info!("listening on {address}");
        }
        let (open_requests, open_connections) = (TaskTracker::new(), TaskTracker::new());
        let accepting = CancellationToken::new();
        let abort = CancellationToken::new();
        let _abort_on_drop = abort.clone().drop_guard();
        let listener = AbortableListener {
            listener: self.listener,
            abort: abort.clone(),
            open_connections: open_connections.clone(),
        };
        let service = from_fn_with_state(open_requests.clone(), request::run).layer(self.router);
        let server = axum::serve(
            listener,
            service.into_make_service_with_connect_info::<Peer>(),
        )
        .with_graceful_shutdown(accepting.clone().cancelled_owned());
        let mut server = pin!(server.into_future());

        let cause = tokio::select! {
            // The server ends only after `accepting` is cancelled, so this arm is not expected.
            _ = &mut server => "the server's end",
            signal = signals.next() => signal,
            () = self.stop => "the service's request",
        };
        tracing::info!("stopping on {cause}");

        let mut telemetry = self.telemetry;
        let stopped = async {
            if let Some(readiness) = self.readiness {
                readiness.set_ready(false);
            }
            if !self.shutdown_delay.is_zero() {
                let _ = timeout(self.shutdown_delay, &mut server).await;
            }
            accepting.cancel();
            let drained = timeout(self.drain_timeout, &mut server).await.is_ok();
            if !drained {
                tracing::warn!(
                    "after {:?}, {} requests are unfinished; aborting {} open connections",
                    self.drain_timeout,
                    open_requests.len(),
                    open_connections.len(),
                );
            }
            abort.cancel();
            if !drained && timeout(ABORT_TIMEOUT, &mut server).await.is_err() {
                tracing::warn!("some requests do not yield and are still running");
            }
            if let Some(telemetry) = &mut telemetry {
                telemetry.flush().await;
            }
            for (index, hook) in self.hooks.into_iter().enumerate() {
                run_hook(index + 1, hook, self.hook_timeout).await;
            }
            if let Some(telemetry) = telemetry.take() {
                tracing::info!("stopped");
                telemetry.shutdown().await?;
            }
            Ok(())
        };
        tokio::select! {
            stopped = stopped => stopped,
            signal = signals.next() => {
                tracing::warn!("stopping immediately on {signal}, the second signal");
                Err(ServeError::Interrupted)
            }
        }
    }
}

async fn run_hook(number: usize, hook: Hook, limit: Duration) {
    // In a task of its own, which isolates a panic.
    let mut task = tokio::spawn(async move { hook().await });
    match timeout(limit, &mut task).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => tracing::error!("shutdown hook {number} panicked"),
        Err(_) => {
            task.abort();
            tracing::error!("shutdown hook {number} was aborted after {limit:?}");
        }
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Serve")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}
