//! The handle of a service's auditing: its layer, work without a request, and reading back.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use sqlx::Pool;
use tokio_util::sync::CancellationToken;
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
use crate::transaction::{AuditTx, CommitOutcome, Committer, DetachOnDrop, detach_on_drop};

/// The auditing of one service: makes the [request guard](crate::layer), runs audited work that
/// no request asked for, and reads records back. Cheap to clone.
pub struct Audit<DB: AuditDatabase> {
    pub(crate) work: Committer<DB>,
    pub(crate) pool: Pool<DB>,
}

impl<DB: AuditDatabase> Clone for Audit<DB> {
    fn clone(&self) -> Self {
        Self {
            work: self.work.clone(),
            pool: self.pool.clone(),
        }
    }
}

impl<DB: AuditDatabase> std::fmt::Debug for Audit<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit")
            .field("service", &self.work.core.service)
            .field("store", &self.work.store)
            .finish_non_exhaustive()
    }
}

impl<DB: AuditDatabase> Audit<DB> {
    /// The layer that guards every request of a router; see [`guard`](crate::layer) for what it
    /// does when, and where it belongs.
    pub fn layer(&self) -> AuditLayer {
        AuditLayer::new(Arc::clone(&self.work.core))
    }

    /// One call of an audited handler by `actor` without a request, for a test that calls the
    /// handler as the plain function it is.
    pub fn call<M: AuditedAction>(&self, actor: Actor) -> Call<M> {
        Call::without_request(Arc::clone(&self.work.core), actor)
    }

    /// Reads a record back, for instance to learn how a commit ended that lost its connection.
    ///
    /// # Errors
    ///
    /// When the database cannot be asked.
    pub async fn record(&self, id: Uuid) -> Result<Option<AuditRecord>, Error> {
        self.work.store.find(id).await
    }

    /// Reads the audit log of this service, as `asked_by` somebody; see [`query`](crate::query). Works
    /// on the service's own pool, with the rights of its role.
    pub fn reader(&self) -> AuditReader<DB> {
        let Committer { core, store } = &self.work;
        AuditReader::of(self.pool.clone(), store.dialect(), core, store.name())
    }

    /// The page over the audit log of this service, for a router of its own: see
    /// [`explorer`](crate::explorer).
    #[cfg(feature = "explorer")]
    pub fn explorer<A: Access>(&self, access: A) -> Explorer<DB, A> {
        Explorer::new(self.reader(), access)
    }

    /// What has been counted since the start.
    pub fn status(&self) -> AuditStatus {
        self.work.core.metrics.status()
    }

    /// Waits until no audited work is under way, such as that of clients who hung up, and then
    /// writes the last summary of [suppressed attempts](crate::AuditBuilder::anonymous_attempts); call
    /// it after the server has stopped, lest attempts end unrecorded.
    ///
    /// It takes as long as work may go on ([`abandoned_after`](crate::AuditBuilder::abandoned_after), 30 seconds by
    /// default) and then takes to be [committed](crate::AuditBuilder::commit_within) or recorded. Give it that time
    /// (`platform_observability::Serve::hook_timeout` is 5 seconds by default), or shorten the former.
    pub async fn shutdown(&self) {
        let tasks = &self.work.core.tasks;
        tasks.close();
        tasks.wait().await;
        self.work.core.summarise(true).await;
    }

    /// Does audited work that no request asked for: a queue's message, a job, a command.
    ///
    /// The work's change and its record are committed together if it returns `Ok`. Otherwise
    /// it is rolled back and the attempt is recorded, also when the work panics or when the
    /// returned future is dropped half-way.
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
    /// [`TransactionError::Work`] with the work's own error; [`TransactionError::Audit`] when
    /// the action's name is malformed or the transaction could not be begun, recorded or
    /// committed.
    ///
    /// # Panics
    ///
    /// When the work panics, after its attempt was recorded.
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
        let mut lent = self
            .begin(Operation::new(&self.work.core.rate_limiter, actor, action))
            .await?;
        let Some(tx) = lent.tx.as_mut() else {
            return Err(Error::TransactionEnded.into());
        };
        let ended = AssertUnwindSafe(work(tx)).catch_unwind().await;
        let Some(tx) = lent.tx.take() else {
            return Err(Error::TransactionEnded.into());
        };
        match ended {
            Ok(Ok(value)) => {
                let work = self.work.clone();
                match self
                    .detach_on_drop(async move { work.commit(tx, None).await })
                    .await
                {
                    CommitOutcome::Committed => Ok(value),
                    CommitOutcome::RolledBack(error, _) | CommitOutcome::Unknown(error) => {
                        Err(error.into())
                    }
                }
            }
            Ok(Err(error)) => {
                self.roll_back(tx, Outcome::Failed, "error").await;
                Err(TransactionError::Work(error))
            }
            Err(panic) => {
                self.roll_back(tx, Outcome::Panicked, "panic").await;
                resume_unwind(panic)
            }
        }
    }

    async fn begin(&self, operation: Operation) -> Result<Lent<DB>, Error> {
        let work = self.work.clone();
        let abandoned = CancellationToken::new();
        let _abandoned = abandoned.clone().drop_guard();
        let begun = self.detach_on_drop(async move {
            let begun = tokio::select! {
                biased;
                // Cut off, the connection is closed. Nobody hears of the error.
                () = abandoned.cancelled() => {
                    work.core
                        .record_attempt(&operation, Outcome::TimedOut, None, "cancelled")
                        .await;
                    return Err(Error::TransactionEnded);
                }
                begun = work.store.begin(operation.id) => begun,
            };
            match begun {
                Ok(transaction) => Ok(Lent {
                    tx: Some(AuditTx::new(transaction, operation)),
                    work,
                }),
                Err(error) => {
                    (work.core).record_later(operation, Outcome::Failed, None, "begin_failed");
                    Err(error)
                }
            }
        });
        begun.await
    }

    async fn roll_back(&self, tx: AuditTx<DB>, outcome: Outcome, error_type: &'static str) {
        let work = self.work.clone();
        self.detach_on_drop(async move { work.roll_back(tx, outcome, None, error_type).await })
            .await;
    }

    /// Does what must not be cut in two when the caller's future is dropped.
    fn detach_on_drop<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> DetachOnDrop<T> {
        detach_on_drop(&self.work.core.tasks, work.in_current_span())
    }
}

/// Records the attempt if the work's future is dropped half-way.
struct Lent<DB: AuditDatabase> {
    work: Committer<DB>,
    tx: Option<AuditTx<DB>>,
}

impl<DB: AuditDatabase> Drop for Lent<DB> {
    fn drop(&mut self) {
        let Some(tx) = self.tx.take() else { return };
        let work = self.work.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let tasks = work.core.tasks.clone();
                let ending = async move {
                    work.roll_back(tx, Outcome::TimedOut, None, "cancelled")
                        .await;
                };
                tasks.spawn_on(ending, &runtime);
            }
            Err(_) => {
                let (connection, operation) = tx.into_parts();
                connection.close();
                let record = work.core.record(&operation, Outcome::TimedOut, None);
                work.core.report_lost(&record, "no runtime is left");
            }
        }
    }
}
