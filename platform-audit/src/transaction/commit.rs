//! How an audited operation ends: record and commit together, or roll back and record the attempt.

use std::sync::Arc;

use uuid::Uuid;

use super::AuditTx;
use crate::core::Core;
use crate::error::Error;
use crate::record::Outcome;
use crate::store::{AuditDatabase, CommitError, Store};

/// How long a roll-back may take before the connection is closed instead: it has to wait for
/// the statement that the work was cut off in.
const ROLLBACK_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

/// How a commit ended.
pub(crate) enum CommitOutcome {
    /// The change and its records are stored.
    Committed,
    /// Neither is; under which id the attempt was recorded, if it was.
    RolledBack(Error, Option<Uuid>),
    /// Both or neither, and only the database knows.
    Unknown(Error),
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
    /// Writes the records of `tx` and commits. Must not be cut in two.
    pub(crate) async fn commit(&self, mut tx: AuditTx<DB>, status: Option<u16>) -> CommitOutcome {
        let records = tx.take_records(&self.core, status);
        let first = &records[0];
        let committing = self.store.commit(tx.transaction(), &records);
        let committed = tokio::time::timeout(self.core.commit_within, committing).await;
        let silent = |_| {
            Err(CommitError::Unknown(
                std::io::Error::from(std::io::ErrorKind::TimedOut).into(),
            ))
        };
        let (error, error_type) = match committed.unwrap_or_else(silent) {
            Ok(()) => {
                tracing::debug!(target: "platform_audit::commit", record_id = %first.id, action = %first.action, records = records.len(), "audited");
                self.core.metrics.committed(records.len());
                tx.into_parts().0.release();
                return CommitOutcome::Committed;
            }
            Err(CommitError::Unknown(source)) => {
                let error = Error::OutcomeUnknown {
                    record_id: first.id,
                    source,
                };
                tracing::error!(record_id = %first.id, action = %first.action, %error, "an audited commit ended without an answer");
                self.core.metrics.unknown();
                tx.into_parts().0.close();
                return CommitOutcome::Unknown(error);
            }
            Err(CommitError::Record(error)) => {
                tracing::error!(record_id = %first.id, action = %first.action, %error, "the change was rolled back, as its audit record could not be written");
                let error_type = match error {
                    Error::TransactionEnded => "transaction_ended",
                    _ => "record_refused",
                };
                (error, error_type)
            }
            Err(CommitError::Commit(source)) => {
                let error = Error::unaudited(source).unwrap_or_else(Error::Commit);
                tracing::error!(record_id = %first.id, action = %first.action, %error, "the database refused the commit");
                let error_type = match error {
                    Error::Unaudited { .. } => "unaudited_change",
                    _ => "commit_refused",
                };
                (error, error_type)
            }
        };
        let attempt = self
            .roll_back(tx, Outcome::Failed, Some(500), error_type)
            .await;
        CommitOutcome::RolledBack(error, attempt)
    }

    /// Rolls back, gives the connection back, and records the attempt: in this order, so that
    /// a pool without a free connection cannot wait for itself. Answers as
    /// [`Core::record_attempt`] does.
    pub(crate) async fn roll_back(
        &self,
        mut tx: AuditTx<DB>,
        outcome: Outcome,
        status: Option<u16>,
        error_type: &str,
    ) -> Option<Uuid> {
        let ending = async {
            tx.transaction().roll_back().await?;
            // Or else it would fail all that comes, until it reaches its age.
            match outcome {
                Outcome::Failed => self.store.is_writable(tx.transaction()).await,
                _ => Ok(true),
            }
        };
        let usable = tokio::time::timeout(ROLLBACK_TIMEOUT, ending).await;
        let (transaction, operation) = tx.into_parts();
        match usable {
            Ok(Ok(true)) => transaction.release(),
            Ok(Ok(false) | Err(_)) | Err(_) => transaction.close(),
        }
        self.core
            .record_attempt(&operation, outcome, status, error_type)
            .await
    }
}
