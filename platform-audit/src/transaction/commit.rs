//! How an audited operation ends: commit with its records, or roll back and record the attempt.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::AuditTx;
use crate::core::Core;
use crate::error::Error;
use crate::record::Outcome;
use crate::store::{AuditDatabase, Store};

/// How long a rollback may take before the connection is closed instead. It has to wait for the
/// statement that was cancelled.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(2);

/// Why an operation was not committed, or why its outcome is unknown.
pub(crate) struct NotCommitted {
    pub(crate) error: Error,
    /// The record of the attempt, unless it was over the rate limit. If the outcome is unknown,
    /// the record that exists if and only if the operation was committed.
    pub(crate) record_id: Option<Uuid>,
}

/// Commits and rolls back the operations of one store. Cheap to clone.
pub(crate) struct Committer<DB: AuditDatabase> {
    pub(crate) core: Arc<Core>,
    pub(crate) store: Arc<Store<DB>>,
}

impl<DB: AuditDatabase> Clone for Committer<DB> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            store: Arc::clone(&self.store),
        }
    }
}

impl<DB: AuditDatabase> Committer<DB> {
    /// Writes the records of `tx` and commits. Must not be cancelled.
    pub(crate) async fn commit(
        &self,
        mut tx: AuditTx<DB>,
        status: Option<u16>,
    ) -> Result<(), NotCommitted> {
        let records = tx.take_records(&self.core, status);
        let first = &records[0];
        let transaction = match tx.transaction().await {
            Ok(transaction) => transaction,
            Err(error) => return Err(self.not_begun(tx, error, status)),
        };
        let committing = self.store.commit(transaction, &records);
        let committed = tokio::time::timeout(self.core.commit_within, committing).await;
        let timed_out = |_| {
            Err(Error::OutcomeUnknown {
                record_id: first.id,
                source: std::io::Error::from(std::io::ErrorKind::TimedOut).into(),
            })
        };
        let error = match committed.unwrap_or_else(timed_out) {
            Ok(()) => {
                tracing::debug!(target: "platform_audit::commit", record_id = %first.id, action = %first.action, records = records.len(), "audited");
                self.core.metrics.committed(records.len());
                if let (Some(transaction), _) = tx.into_parts() {
                    transaction.release();
                }
                return Ok(());
            }
            Err(error) => error,
        };
        let message = match &error {
            Error::OutcomeUnknown { .. } => "an audited commit received no response",
            Error::Commit(_) | Error::Unaudited { .. } => "the database refused the commit",
            _ => "the change was rolled back, because its audit record could not be written",
        };
        tracing::error!(record_id = %first.id, action = %first.action, %error, "{message}");
        if let Error::OutcomeUnknown { record_id, .. } = error {
            self.core.metrics.unknown();
            if let (Some(transaction), _) = tx.into_parts() {
                transaction.close();
            }
            return Err(NotCommitted {
                error,
                record_id: Some(record_id),
            });
        }
        let record_id = self
            .roll_back(tx, Outcome::Failed, Some(500), error.error_type())
            .await;
        Err(NotCommitted { error, record_id })
    }

    /// Records the attempt of an operation whose transaction could not begin. The record is written
    /// in the background, because it needs a connection, too, and the client should not wait for
    /// one.
    pub(crate) fn not_begun(
        &self,
        tx: AuditTx<DB>,
        error: Error,
        status: Option<u16>,
    ) -> NotCommitted {
        let (_, operation) = tx.into_parts();
        tracing::error!(record_id = %operation.id, action = %operation.action, %error, "the transaction of an audited operation could not begin");
        let status = status.and(Some(503));
        let record_id =
            self.core
                .record_later(operation, Outcome::Failed, status, error.error_type());
        NotCommitted { error, record_id }
    }

    /// Rolls back, releases the connection, and records the attempt, in this order: otherwise the
    /// record could wait for the connection that this operation still holds. Returns the id of the
    /// attempt's record, as [`Core::record_attempt`] does.
    pub(crate) async fn roll_back(
        &self,
        tx: AuditTx<DB>,
        outcome: Outcome,
        status: Option<u16>,
        error_type: &str,
    ) -> Option<Uuid> {
        let (transaction, operation) = tx.into_parts();
        if let Some(mut transaction) = transaction {
            let ending = async {
                transaction.roll_back().await?;
                // A connection to a standby would fail every operation until it reaches its age.
                match outcome {
                    Outcome::Failed => self.store.is_writable(&mut transaction).await,
                    _ => Ok(true),
                }
            };
            match tokio::time::timeout(ROLLBACK_TIMEOUT, ending).await {
                Ok(Ok(true)) => transaction.release(),
                Ok(Ok(false) | Err(_)) | Err(_) => transaction.close(),
            }
        }
        self.core
            .record_attempt(&operation, outcome, status, error_type)
            .await
    }
}
