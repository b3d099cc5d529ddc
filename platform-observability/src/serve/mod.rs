//! A server that stops without losing requests.

mod connection;
mod error;
mod request;
mod signals;

use std::fmt;
use std::pin::{Pin, pin};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use connection::Cuttable;
pub use error::ServeError;
use request::{Connected, Count};
use signals::Signals;

use crate::health::Health;
use crate::{Readiness, Telemetry};

/// How long requests may take to end, unless the service says otherwise. With the other bounds it
/// stays below the 30 seconds after which Kubernetes kills, in all but the worst case.
const DRAIN: Duration = Duration::from_secs(20);

/// How long each closure may take, unless the service says otherwise.
const CLOSURE: Duration = Duration::from_secs(5);

/// How long requests that were cut have for their destructors.
const CUT: Duration = Duration::from_secs(1);

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Closure = Box<dyn FnOnce() -> Boxed<()> + Send>;

/// Serves `router` until the process is told to stop, then stops gracefully.
///
/// See [`Serve`]; nothing happens before [`Serve::run`].
pub fn serve(listener: TcpListener, router: Router) -> Serve {
    Serve {
        listener,
        router,
        readiness: None,
        not_ready_for: Duration::ZERO,
        drain_within: DRAIN,
        close_within: CLOSURE,
        stop: Box::pin(std::future::pending()),
        closures: Vec::new(),
        telemetry: None,
    }
}

/// A server that stops on SIGTERM or SIGINT (Ctrl-C where there are no signals); made by [`serve`].
///
/// Handlers can extract the client's address as `ConnectInfo<SocketAddr>`. To stop, it
///
/// 1. turns [`Readiness`] off, so that `/readyz` answers 503,
/// 2. serves on for [`not_ready_for`](Self::not_ready_for), until no more requests are sent to it,
/// 3. stops accepting, closes idle connections, and waits for requests to end, bodies included,
///    [at most so long](Self::drain_within); then it cuts the connections that are left,
/// 4. sends the telemetry there is, so that it is safe whatever comes next,
/// 5. runs what is to be done [on shutdown](Self::on_shutdown), such as closing a pool, each
///    [at most so long](Self::close_within),
/// 6. shuts telemetry down; with step 4 at most for as long as
///    [it was given](crate::TelemetryBuilder::shutdown_within).
///
/// A second signal stops it at once, whatever is unfinished; only telemetry that was not shut down
/// yet is then dropped, which takes up to two seconds. All those times together should be
/// below what the process is given before it is killed, which on Kubernetes is
/// `terminationGracePeriodSeconds`, 30 by default.
///
/// Upgraded connections, such as WebSockets, are not waited for; they are cut after step 3. But
/// over HTTP/2 a WebSocket is a stream among others, whose connection is open until the deadline of
/// that step, as is one on which a client has sent half a request.
#[must_use = "nothing is served before `run`"]
pub struct Serve {
    listener: TcpListener,
    router: Router,
    readiness: Option<Readiness>,
    not_ready_for: Duration,
    drain_within: Duration,
    close_within: Duration,
    stop: Boxed<()>,
    closures: Vec<Closure>,
    telemetry: Option<Telemetry>,
}

impl Serve {
    /// Turns the readiness of `health` off when it stops. The routes are not added: merge
    /// [`Health::router`].
    pub fn with_health(mut self, health: &Health) -> Self {
        self.readiness = Some(health.readiness());
        self
    }

    /// For how long it serves on after readiness was turned off; by default not at all.
    ///
    /// It depends on what is in front, and where nothing is, each restart would wait for nothing.
    /// Behind a load balancer that asks `/readyz`, give it the time of as many probes as that
    /// takes to believe it; on Kubernetes, which withdraws a pod's address without asking, but
    /// not before it sends SIGTERM, 5 seconds.
    pub fn not_ready_for(mut self, time: Duration) -> Self {
        self.not_ready_for = time;
        self
    }

    /// How long requests may take to end after it has stopped accepting; by default 20 seconds.
    ///
    /// After that their connections are cut, and how many requests were unfinished is logged.
    pub fn drain_within(mut self, deadline: Duration) -> Self {
        self.drain_within = deadline;
        self
    }

    /// How long each closure may take that is run [on shutdown](Self::on_shutdown); by default 5 seconds.
    pub fn close_within(mut self, deadline: Duration) -> Self {
        self.close_within = deadline;
        self
    }

    /// Runs `closure` when no request is left, such as to close a pool.
    ///
    /// Closures run in the order in which they were added. One that panics, or takes
    /// [too long](Self::close_within), is logged and does not keep the others from running.
    pub fn on_shutdown<F, R>(mut self, closure: F) -> Self
    where
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.closures
            .push(Box::new(move || Box::pin(async move { closure().await })));
        self
    }

    /// Shuts `telemetry` down last of all.
    pub fn with_telemetry(mut self, telemetry: Telemetry) -> Self {
        self.telemetry = Some(telemetry);
        self
    }

    /// Also stops when `stop` completes, as on a first signal.
    pub fn stop_when(mut self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        self.stop = Box::pin(stop);
        self
    }

    /// Serves until it has stopped. Dropped before that, it cuts all connections.
    ///
    /// Afterwards SIGTERM and SIGINT do not end the process by themselves: let `main` return.
    ///
    /// # Errors
    ///
    /// When signals cannot be listened for, when a second one came, and when telemetry was not
    /// shut down cleanly. Requests that were cut are logged, and no error.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time.
    pub async fn run(self) -> Result<(), ServeError> {
        let mut signals = Signals::listen().map_err(|source| ServeError::Signals { source })?;
        if let Ok(address) = self.listener.local_addr() {
            tracing::info!("listening on {address}");
        }
        let (unfinished, open) = (Count::default(), Count::default());
        let accepting = CancellationToken::new();
        let cut = CancellationToken::new();
        let _cut_when_dropped = cut.clone().drop_guard();
        let server = axum::serve(
            Cuttable {
                listener: self.listener,
                cut: cut.clone(),
                open: open.clone(),
            },
            Connected {
                router: self.router,
                unfinished: unfinished.clone(),
            },
        )
        .with_graceful_shutdown(accepting.clone().cancelled_owned());
        let mut server = pin!(server.into_future());

        let cause = tokio::select! {
            // It does not end before it is told to.
            _ = &mut server => "the server's end",
            signal = signals.next() => signal,
            () = self.stop => "the service's own wish",
        };
        tracing::info!("stopping on {cause}");

        let mut telemetry = self.telemetry;
        let stopped = async {
            if let Some(readiness) = self.readiness {
                readiness.set_ready(false);
            }
            if !self.not_ready_for.is_zero() {
                let _ = timeout(self.not_ready_for, &mut server).await;
            }
            accepting.cancel();
            let drained = timeout(self.drain_within, &mut server).await.is_ok();
            if !drained {
                tracing::warn!(
                    "after {:?}, {} requests are unfinished; cutting the connections that are open: {}",
                    self.drain_within,
                    unfinished.now(),
                    open.now(),
                );
            }
            cut.cancel();
            if !drained && timeout(CUT, &mut server).await.is_err() {
                tracing::warn!("some requests do not yield and still run");
            }
            if let Some(telemetry) = &mut telemetry {
                telemetry.flush().await;
            }
            for (index, closure) in self.closures.into_iter().enumerate() {
                close(index + 1, closure, self.close_within).await;
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
                tracing::warn!("stopping at once on {signal}, the second signal");
                Err(ServeError::Interrupted)
            }
        }
    }
}

async fn close(number: usize, closure: Closure, deadline: Duration) {
    // In a task of its own, where it may panic.
    let mut task = tokio::spawn(async move { closure().await });
    match timeout(deadline, &mut task).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => tracing::error!("closure {number} of the shutdown panicked"),
        Err(_) => {
            task.abort();
            tracing::error!("closure {number} of the shutdown was stopped after {deadline:?}");
        }
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Serve")
            .field("listener", &self.listener)
            .field("readiness", &self.readiness)
            .field("not_ready_for", &self.not_ready_for)
            .field("drain_within", &self.drain_within)
            .field("close_within", &self.close_within)
            .field("telemetry", &self.telemetry)
            .finish_non_exhaustive()
    }
}
