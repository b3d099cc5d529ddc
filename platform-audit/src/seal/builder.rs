//! Sealing, verifying and proving without a running service.

use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::directory::Directory;
use super::error::SealError;
use super::log::SealedLog;
use super::options::Seal;
use super::proof::{RecordProof, prove};
use super::publish::refuse_directory;
use super::run::{Sealed, Worker};
use super::status::SealStatus;
use super::verify::{Verification, Verify, verify};
use crate::builder::AuditBuilder;
use crate::check::{Finding, contradicted};
use crate::error::Error;
use crate::store::{AuditDatabase, Store};

impl<DB: AuditDatabase> AuditBuilder<DB> {
    /// Seals the records that are committed now, and publishes a checkpoint. A service does that
    /// continuously, if it has a [`seal`](Self::seal).
    ///
    /// # Errors
    ///
    /// If the database cannot be used, the published log contradicts it, or the checkpoint cannot
    /// be published.
    pub async fn seal_now(&self, seal: &Seal) -> Result<Sealed, SealError> {
        let store = self.open(Some(1))?;
        let mut worker = Worker::new(seal.clone(), Arc::new(SealStatus::new()));
        worker
            .work(&store, true)
            .await
            .map_err(|error| error.in_store(&store))
    }

    /// Seals and publishes continuously. Errors are logged and retried.
    ///
    /// # Errors
    ///
    /// If the name of the service or the schema is invalid.
    pub async fn seal_forever(&self, seal: &Seal) -> Result<std::convert::Infallible, SealError> {
        let store = Arc::new(self.open(Some(1))?);
        let worker = Worker::new(seal.clone(), Arc::new(SealStatus::new()));
        let worker = Arc::new(tokio::sync::Mutex::new(worker));
        loop {
            super::run::run(Arc::downgrade(&store), Arc::clone(&worker)).await;
        }
    }

    /// Acknowledges that the database was restored from a backup: appends the published entries
    /// that it lost, and an entry that says so. `because` is sealed, and must not contain personal
    /// data.
    ///
    /// # Errors
    ///
    /// [`SealError::NotFound`] if the published log is not ahead of the database, or lacks entries.
    /// [`SealError::Fork`] if the database contradicts it: a rewritten history cannot be resumed.
    pub async fn resume(&self, seal: &Seal, because: &str) -> Result<Sealed, SealError> {
        let store = self.open(Some(1))?;
        let mut worker = Worker::new(seal.clone(), Arc::new(SealStatus::new()));
        worker
            .resume(&store, because)
            .await
            .map_err(|error| error.in_store(&store))
    }

    /// Compares all records with their seals, and the log with its checkpoints and with `options`.
    /// The role needs only the privileges of a reader.
    ///
    /// # Errors
    ///
    /// If the database or the published log cannot be read, or no key was given. What was read
    /// until then proves nothing.
    pub async fn verify(&self, options: &Verify) -> Result<Verification, SealError> {
        let store = self.open(Some(1))?;
        let sql = store.dialect().seal_sql();
        verify(self.pool(), sql, store.name(), options)
            .await
            .map_err(|error| error.in_store(&store))
    }

    /// Proves that the log contains a record: against the newest checkpoint of `tiles`, the
    /// directory of the published log, or of the database if that is `None`.
    ///
    /// # Errors
    ///
    /// [`SealError::NotFound`] if there is no such record, or no checkpoint covers it yet.
    pub async fn prove(&self, id: Uuid, tiles: Option<&Path>) -> Result<RecordProof, SealError> {
        let store = self.open(Some(1))?;
        let sql = store.dialect().seal_sql();
        prove(self.pool(), sql, store.name(), id, tiles)
            .await
            .map_err(|error| error.in_store(&store))
    }

    /// Compares the [check](Self::check) and the start with a published log: they fail if it is
    /// ahead of the database, which was restored from a backup then, or contradicts it. A
    /// [`seal`](Self::seal) that publishes to a directory implies that.
    pub fn published(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.published = Some(directory.into());
        self
    }

    /// The finding about the published log, if it contradicts the database.
    pub(crate) async fn contradiction(&self, store: &Store<DB>) -> Result<Option<Finding>, Error> {
        let of_seal = || self.seal.as_ref()?.directory.clone();
        let Some(directory) = self.published.clone().or_else(of_seal) else {
            return Ok(None);
        };
        let mut connection = store.connections.acquire().await.map_err(Error::Store)?;
        let mut log = SealedLog::<DB> {
            connection: &mut connection,
            sql: store.dialect().seal_sql(),
            schema: store.name(),
        };
        let refused = refuse_directory(&mut log, &Directory::new(directory)).await;
        if let Err(SealError::Store(error)) = refused {
            return Err(Error::Store(error));
        }
        connection.release();
        let found = |error| contradicted(store.name(), self.service(), &error);
        Ok(refused.err().map(found))
    }
}
