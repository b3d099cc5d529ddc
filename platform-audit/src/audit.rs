//! The handle of a service's auditing: its layer, operations without a request, and reads.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use sqlx::Pool;
use tracing::Instrument;
use uuid::Uuid;

use crate::action::AuditedAction;
use crate::error::{Error, TransactionError};
#[cfg(feature = "explorer")]
use crate::explorer::{Access, Explorer};
use crate::handler::Call;
use crate::layer::AuditLayer;
use crate::metrics::AuditStatus;
use crate::operation::Operation;
use crate::query::AuditReader;
use crate::record::{Actor, AuditRecord, Outcome, check_action};
use crate::store::AuditDatabase;
use crate::transaction::{
    AuditTx, Committer, DetachOnDrop, NotCommitted, detach_on_drop, inside, is_nested,
};

/// The auditing of one service: creates the [audit layer](crate::layer), runs audited operations
/// outside of requests, and reads records. Cheap to clone.
pub struct Audit<DB: AuditDatabase> {
    pub(crate) committer: Committer<DB>,
    pub(crate) pool: Pool<DB>,
    /// The sealer, if this instance seals.
    #[cfg(feature = "seal")]
    pub(crate) sealer: Option<Arc<tokio::sync::Mutex<crate::seal::Worker>>>,
}

impl<DB: AuditDatabase> Clone for Audit<DB> {
    fn clone(&self) -> Self {
        Self {
            committer: self.committer.clone(),
            pool: self.pool.clone(),
            #[cfg(feature = "seal")]
            sealer: self.sealer.clone(),
        }
    }
}

impl<DB: AuditDatabase> std::fmt::Debug for Audit<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit")
            .field("service", &self.committer.core.service)
            .field("store", &self.committer.store)
            .finish_non_exhaustive()
    }
}

impl<DB: AuditDatabase> Audit<DB> {
    /// The layer that audits every request of a router. The [module](crate::layer) documents what it
    /// does, and where it belongs.
    pub fn layer(&self) -> AuditLayer {
        AuditLayer::new(Arc::clone(&self.committer.core))
    }

    /// Returns the first argument for a test that calls an audited handler as a plain function,
    /// without a request, as `actor`.
    pub fn call<M: AuditedAction>(&self, actor: Actor) -> Call<M> {
        Call::without_request(Arc::clone(&self.committer.core), actor)
    }

    /// Reads a record back, for example after [`Error::OutcomeUnknown`].
    ///
    /// If there is no such record on Postgres, this waits up to 5 seconds for the transactions that
    /// are running now, because one of them may be about to write it.
    ///
    /// # Errors
    ///
    /// If the database cannot be queried.
    pub async fn record(&self, id: Uuid) -> Result<Option<AuditRecord>, Error> {
        self.committer.store.find(id).await
    }

    /// A reader of this service's records; see [`query`](crate::query). It uses the service's own
    /// pool, with the privileges of its role.
    pub fn reader(&self) -> AuditReader<DB> {
        let Committer { core, store } = &self.committer;
        AuditReader::for_service(self.pool.clone(), store.dialect(), core, store.name())
    }

    /// Returns the web pages that show this service's records; see [`explorer`](crate::explorer).
    #[cfg(feature = "explorer")]
    pub fn explorer<A: Access>(&self, access: A) -> Explorer<DB, A> {
        Explorer::new(self.reader(), access)
    }

    /// Returns the routes that serve the sealed log to auditors, as C2SP tlog-tiles: `/checkpoint`
    /// and `/tile/…`, for [`Router::nest`](axum::Router::nest) at any path or to serve alone. They
    /// serve what the newest checkpoint covers, which contains no personal data, and need no
    /// authentication.
    ///
    /// ```
    /// # #[cfg(feature = "postgres")]
    /// # fn example(audit: &platform_audit::Audit<sqlx::Postgres>) -> axum::Router {
    /// axum::Router::new().nest("/audit-log", audit.log_router())
    /// # }
    /// ```
    #[cfg(feature = "seal")]
    pub fn log_router(&self) -> axum::Router {
        let store = &self.committer.store;
        let sql = store.dialect().seal_sql();
        crate::seal::router(self.pool.clone(), sql, store.name().to_owned())
    }

    /// The counters since the start.
    pub fn status(&self) -> AuditStatus {
        self.committer.core.metrics.status()
    }

    /// Waits until no audited operation is running, including those whose clients have
    /// disconnected, and then writes the last summary of
    /// [suppressed attempts](crate::AuditBuilder::anonymous_attempts), and seals the last records.
    /// Call it after the server has stopped: attempts that end later are not recorded.
    ///
    /// An operation may run for [`abandoned_after`](crate::AuditBuilder::abandoned_after) (30
    /// seconds by default) after its client has disconnected, and then be
    /// [committed](crate::AuditBuilder::commit_within) or recorded. Allow that much time
    /// (`platform_observability::Serve::hook_timeout` is 5 seconds by default), or shorten
    /// `abandoned_after`.
    pub async fn shutdown(&self) {
        let tasks = &self.committer.core.tasks;
        tasks.close();
        tasks.wait().await;
        self.committer.core.summarise(true).await;
        #[cfg(feature = "seal")]
        if let Some(sealer) = &self.sealer {
            let store = &self.committer.store;
            if let Err(error) = sealer.lock().await.work(store, true).await {
                tracing::error!(
                    error = %error,
                    "the last audit records are not sealed yet; the next start seals them"
                );
            }
        }
    }

    /// Runs an audited operation outside of a request: a queue's message, a job, a command.
    ///
    /// If `work` returns `Ok`, its changes and its record are committed together. Otherwise they
    /// are rolled back and the attempt is recorded, also if `work` panics or the returned future is
    /// dropped. The transaction begins with the first statement on `tx`.
    ///
    /// ```
    /// # #[cfg(feature = "postgres")]
    /// # async fn example(audit: platform_audit::Audit<sqlx::Postgres>) -> Result<(), Box<dyn std::error::Error>> {
    /// use platform_audit::{Actor, AuditTx};
    ///
    /// audit
    ///     .transaction(Actor::system("month-end"), "ledger.close", async |tx: &mut AuditTx| {
    ///         sqlx::query("UPDATE ledger SET open = false").execute(&mut *tx).await?;
    ///         tx.record("ledger", "2026-10");
    ///         Ok::<_, sqlx::Error>(())
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TransactionError::Work`] with the error of `work`. [`TransactionError::Audit`] if the
    /// action's name is malformed, the transaction could not be begun, recorded or committed, or
    /// this is called inside another audited operation
    /// ([`NestedTransaction`](Error::NestedTransaction)).
    ///
    /// # Panics
    ///
    /// If `work` panics, after its attempt was recorded.
    pub async fn transaction<T, E, F>(
        &self,
        actor: Actor,
        action: impl Into<Cow<'static, str>>,
        work: F,
    ) -> Result<T, TransactionError<E>>
    where
        F: AsyncFnOnce(&mut AuditTx<DB>) -> Result<T, E>,
    {
        let action = action.into();
        check_action(&action).map_err(Error::InvalidAction)?;
        let Committer { core, store } = &self.committer;
        if is_nested(store) {
            return Err(Error::NestedTransaction.into());
        }
        let operation = Operation::new(&core.rate_limiter, actor, action);
        let mut running = Running {
            committer: self.committer.clone(),
            tx: Some(AuditTx::new(Arc::clone(store), operation)),
        };
        let ended = match &mut running.tx {
            Some(tx) => {
                AssertUnwindSafe(inside(store, work(tx)))
                    .catch_unwind()
                    .await
            }
            None => return Err(Error::TransactionEnded.into()),
        };
        let Some(mut tx) = running.tx.take() else {
            return Err(Error::TransactionEnded.into());
        };
        let committer = self.committer.clone();
        match ended {
            Ok(Ok(value)) => {
                let committed =
                    self.detach_on_drop(async move { committer.commit(tx, None).await });
                match committed.await {
                    Ok(()) => Ok(value),
                    Err(NotCommitted { error, .. }) => Err(error.into()),
                }
            }
            Ok(Err(error)) => match tx.take_begin_error() {
                // The transaction could not begin, so the first statement of `work` failed.
                Some(error) => Err(committer.not_begun(tx, error, None).error.into()),
                None => {
                    self.roll_back(tx, Outcome::Failed, "error").await;
                    Err(TransactionError::Work(error))
                }
            },
            Err(panic) => {
                self.roll_back(tx, Outcome::Panicked, "panic").await;
                resume_unwind(panic)
            }
        }
    }

    async fn roll_back(&self, tx: AuditTx<DB>, outcome: Outcome, error_type: &'static str) {
        let committer = self.committer.clone();
        self.detach_on_drop(
            async move { committer.roll_back(tx, outcome, None, error_type).await },
        )
        .await;
    }

    /// Runs `ending` to its end, even if the caller's future is dropped.
    fn detach_on_drop<T: Send + 'static>(
        &self,
        ending: impl Future<Output = T> + Send + 'static,
    ) -> DetachOnDrop<T> {
        detach_on_drop(&self.committer.core.tasks, ending.in_current_span())
    }
}

/// Rolls back and records the attempt if the future of an operation is dropped.
struct Running<DB: AuditDatabase> {
    committer: Committer<DB>,
    tx: Option<AuditTx<DB>>,
}

impl<DB: AuditDatabase> Drop for Running<DB> {
    fn drop(&mut self) {
        let Some(tx) = self.tx.take() else { return };
        let committer = self.committer.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let tasks = committer.core.tasks.clone();
                let ending = async move {
                    committer
                        .roll_back(tx, Outcome::TimedOut, None, "cancelled")
                        .await;
                };
                tasks.spawn_on(ending, &runtime);
            }
            Err(_) => {
                let (transaction, operation) = tx.into_parts();
                if let Some(transaction) = transaction {
                    transaction.close();
                }
                let record = committer.core.record(&operation, Outcome::TimedOut, None);
                committer
                    .core
                    .report_lost(&record, "the runtime is shutting down");
            }
        }
    }
}
