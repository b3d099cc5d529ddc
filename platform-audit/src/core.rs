//! The state that all parts of one service's auditing share, independent of the database.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::actor_source::{Actors, ClientAddresses};
use crate::error::{Error, kind};
use crate::metrics::Metrics;
use crate::operation::Operation;
use crate::rate_limit::RateLimiter;
use crate::record::{Actor, AuditRecord, Outcome, bound_record};
use crate::store::AnyStore;

/// The interval at which attempts over the rate limit are summarised in a record.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// The timeout for writing the record of an attempt, after which it counts as lost.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) service: String,
    pub(crate) service_version: Option<String>,
    pub(crate) store: Arc<dyn AnyStore>,
    pub(crate) actors: Option<Actors>,
    pub(crate) client_addresses: Option<ClientAddresses>,
    pub(crate) observe_only: bool,
    pub(crate) grace: Duration,
    /// The timeout of a COMMIT.
    pub(crate) commit_within: Duration,
    pub(crate) metrics: Metrics,
    pub(crate) rate_limiter: RateLimiter,
    /// The operations that must not be cancelled. A shutdown waits for them.
    pub(crate) tasks: TaskTracker,
}

impl Core {
    /// Creates a record of `operation`. The caller completes it and [truncates](bound_record) its
    /// fields.
    pub(crate) fn record(
        &self,
        operation: &Operation,
        outcome: Outcome,
        status: Option<u16>,
    ) -> AuditRecord {
        let version = self.service_version.as_deref();
        operation.record(&self.service, version, outcome, status)
    }

    /// Records an attempt that changed nothing, in a transaction of its own. If this fails, the
    /// record is logged at ERROR and the response does not change.
    ///
    /// Returns the id of the record in the table or, if it could not be written, in the log; `None`
    /// if the attempt is over the rate limit and was only counted.
    pub(crate) async fn record_attempt(
        &self,
        operation: &Operation,
        outcome: Outcome,
        status: Option<u16>,
        error_type: &str,
    ) -> Option<Uuid> {
        if let Some(limited) = &operation.limit
            && !self.rate_limiter.admits(Some(limited))
        {
            self.rate_limiter.suppress(limited);
            self.metrics.suppressed();
            return None;
        }
        let mut record = self.record(operation, outcome, status);
        record.error_type = Some(error_type.to_owned());
        bound_record(&mut record);
        match self.write_alone(&record).await {
            Ok(()) => self.metrics.attempt(outcome),
            Err(error) => self.report_lost(&record, &error),
        }
        Some(operation.id)
    }

    /// Like [`record_attempt`](Self::record_attempt), but in a background task.
    pub(crate) fn record_later(
        self: &Arc<Self>,
        operation: Operation,
        outcome: Outcome,
        status: Option<u16>,
        error_type: &'static str,
    ) -> Option<Uuid> {
        let admitted = self.rate_limiter.admits(operation.limit.as_deref());
        let recorded = admitted.then_some(operation.id);
        let core = Arc::clone(self);
        self.tasks.spawn(async move {
            core.record_attempt(&operation, outcome, status, error_type)
                .await
        });
        recorded
    }

    /// Writes `record` in a transaction of its own, within [`ATTEMPT_TIMEOUT`]. Returns an error
    /// message without data of the database.
    pub(crate) async fn write_alone(&self, record: &AuditRecord) -> Result<(), String> {
        let records = std::slice::from_ref(record);
        match tokio::time::timeout(ATTEMPT_TIMEOUT, self.store.write(records)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Error::Record(error) | Error::Store(error) | Error::Begin(error))) => {
                Err(kind(&error))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("timeout".to_owned()),
        }
    }

    /// Records a read of sensitive data.
    pub(crate) async fn record_read(
        &self,
        operation: &Operation,
        status: http::StatusCode,
    ) -> Result<(), Error> {
        let mut record = self.record(operation, Outcome::Success, Some(status.as_u16()));
        bound_record(&mut record);
        let records = [record];
        let writing = self.store.write(&records);
        tokio::time::timeout(ATTEMPT_TIMEOUT, writing)
            .await
            .map_err(|_| Error::Record(sqlx::Error::PoolTimedOut))??;
        self.metrics.committed(1);
        Ok(())
    }

    /// Logs the record of an attempt that could not be stored.
    pub(crate) fn report_lost(&self, record: &AuditRecord, error: &str) {
        self.metrics.lost();
        let text = serde_json::to_string(record).unwrap_or_default();
        tracing::error!(
            audit.record = text,
            error,
            "the audit record of an attempt could not be stored; this event is its only copy"
        );
    }
}

impl Core {
    /// Writes the summary of the suppressed attempts, if there are any. If this fails, the counts
    /// are added to the next summary; the `last` one is logged instead.
    pub(crate) async fn summarise(&self, last: bool) {
        let _lock = self.rate_limiter.lock_summary().await;
        let Some(mut pending) = self.rate_limiter.take_summary() else {
            return;
        };
        let mut operation = Operation::new(
            &self.rate_limiter,
            Actor::system("platform-audit"),
            "attempt.suppress".into(),
        );
        operation.details = pending.details();
        let mut record = self.record(&operation, Outcome::Denied, None);
        record.error_type = Some("rate_limited".to_owned());
        bound_record(&mut record);
        match self.write_alone(&record).await {
            Ok(()) => pending.mark_written(),
            Err(error) if last => {
                self.report_lost(&record, &error);
                pending.mark_written();
            }
            Err(error) => tracing::error!(
                error,
                "the summary of suppressed attempts could not be written; the next one will contain its counts"
            ),
        }
    }
}

/// Writes a summary each minute until `core` is dropped.
pub(crate) async fn summarise(core: Weak<Core>) {
    loop {
        tokio::time::sleep(SUMMARY_INTERVAL).await;
        let Some(core) = core.upgrade() else { return };
        core.rate_limiter.evict_idle();
        core.summarise(false).await;
    }
}
