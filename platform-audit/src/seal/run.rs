//! The sealer of a service: seals, signs and publishes until the service ends.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

#[cfg(feature = "object-store")]
use super::bucket::BucketState;
use super::canonical::{RESTORE, other_entry};
use super::directory::Directory;
use super::error::SealError;
use super::log::{Restore, SealedLog, Tree};
use super::options::Seal;
use super::publish::newest;
use super::sealer::{Pass, Sealer};
use super::sinks::SinkState;
use super::status::SealStatus;
#[cfg(feature = "witness")]
use super::witness::WitnessState;
use crate::store::{AuditDatabase, Store};

/// The interval at which records are sealed.
const SEAL_EVERY: Duration = Duration::from_millis(500);

/// The shortest time between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// The longest time between two attempts after an error.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Seals the log of one service.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(super) seal: Seal,
    pub(super) sealer: Sealer,
    pub(super) directory: Option<Directory>,
    /// The last checkpoint that this worker published, apart from `sinks`.
    pub(super) published: Option<(u64, Arc<str>)>,
    pub(super) sinks: Vec<SinkState>,
    #[cfg(feature = "object-store")]
    pub(super) buckets: Vec<BucketState>,
    #[cfg(feature = "witness")]
    pub(super) witnesses: Vec<WitnessState>,
    /// Why a witness, a sink or a bucket does not have the last checkpoint, if it failed.
    pub(super) failures: Vec<SealError>,
    pub(super) last_checkpoint: Option<Instant>,
    pub(super) status: Arc<SealStatus>,
}

/// What was sealed and published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sealed {
    /// The number of entries that were added to the log.
    pub sealed: u64,
    /// The number of entries of the log.
    pub size: u64,
    /// Whether another instance was sealing, so this one did nothing.
    pub busy: bool,
}

/// What a worker does on one connection.
enum Task<'a> {
    /// Seals, and publishes a checkpoint if one is due or `now` is set.
    Seal { now: bool },
    /// Acknowledges a restore.
    Resume { because: &'a str },
}

impl Worker {
    pub(crate) fn new(seal: Seal, status: Arc<SealStatus>) -> Self {
        Self {
            sealer: Sealer::new(seal.verifier_key()),
            directory: seal.directory.clone().map(Directory::new),
            published: None,
            sinks: seal
                .sinks
                .iter()
                .map(|it| SinkState::new(Arc::clone(it)))
                .collect(),
            #[cfg(feature = "object-store")]
            buckets: seal.buckets.iter().cloned().map(BucketState::new).collect(),
            #[cfg(feature = "witness")]
            witnesses: seal
                .witnesses
                .iter()
                .cloned()
                .map(WitnessState::new)
                .collect(),
            failures: Vec::new(),
            last_checkpoint: None,
            seal,
            status,
        }
    }

    /// Seals all records that are committed now, and publishes a checkpoint if one is due or
    /// `now` is set.
    pub(crate) async fn work<DB: AuditDatabase>(
        &mut self,
        store: &Store<DB>,
        now: bool,
    ) -> Result<Sealed, SealError> {
        self.run_task(store, Task::Seal { now }).await
    }

    /// See [`AuditBuilder::resume`](crate::AuditBuilder::resume).
    pub(crate) async fn resume<DB: AuditDatabase>(
        &mut self,
        store: &Store<DB>,
        because: &str,
    ) -> Result<Sealed, SealError> {
        self.run_task(store, Task::Resume { because }).await
    }

    /// Runs a task on a connection of its own.
    async fn run_task<DB: AuditDatabase>(
        &mut self,
        store: &Store<DB>,
        task: Task<'_>,
    ) -> Result<Sealed, SealError> {
        let mut connection = store.connections.acquire().await?;
        let mut log = SealedLog::<DB> {
            connection: &mut connection,
            sql: store.dialect().seal_sql(),
            schema: store.name(),
        };
        let done = match task {
            Task::Seal { now } => self.seal_and_publish(&mut log, now).await,
            Task::Resume { because } => self.resume_in(&mut log, because).await,
        };
        match &done {
            // Any error may have left the connection in a transaction.
            Err(_) => drop(connection),
            Ok(_) => connection.release(),
        }
        done
    }

    async fn seal_and_publish<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
        now: bool,
    ) -> Result<Sealed, SealError> {
        self.refuse_contradiction(log).await?;
        let mut sealed = 0;
        let (size, root) = loop {
            match self.sealer.pass(log).await? {
                Pass::Busy => {
                    return Ok(Sealed {
                        sealed,
                        size: self.sealer.edge().size(),
                        busy: true,
                    });
                }
                Pass::Sealed {
                    sealed: added,
                    size,
                    root,
                    oldest,
                    more,
                } => {
                    sealed += added;
                    self.status.sealed(size, added, oldest);
                    if !more {
                        break (size, root);
                    }
                }
            }
        };
        let is_due = now
            || self
                .last_checkpoint
                .is_none_or(|at| at.elapsed() >= CHECKPOINT_EVERY);
        if is_due && size > 0 {
            self.publish(log, size, root).await?;
        }
        self.forward(log, now).await?;
        Ok(Sealed {
            sealed,
            size,
            busy: false,
        })
    }

    async fn resume_in<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
        because: &str,
    ) -> Result<Sealed, SealError> {
        let (place, published) = match &self.directory {
            Some(directory) => (
                directory.place("checkpoint").into_owned(),
                newest(directory)?.map(|it| it.checkpoint),
            ),
            None => (String::new(), None),
        };
        let size = log
            .json::<Tree>(log.sql.tree())
            .await?
            .map_or(0, |tree| tree.size);
        let (Some(directory), Some(published)) = (&self.directory, published) else {
            return Err(SealError::NotFound(
                "there is no published checkpoint: nothing has to be resumed".to_owned(),
            ));
        };
        if published.size() <= size {
            return Err(SealError::NotFound(format!(
                "{place} has {} entries, and the database {size}: nothing has to be resumed",
                published.size()
            )));
        }
        let lost = directory.entries(size, published.size())?;
        let restore = Restore {
            from: size,
            to: published.size(),
            because: because.to_owned(),
        };
        let body = serde_json::to_vec(&restore).map_err(SealError::malformed)?;
        let entry = other_entry(RESTORE, &body);
        let expected = (published.size(), published.root());
        let added = self
            .sealer
            .resume(log, lost, expected, &entry, &place)
            .await?;
        let done = self.seal_and_publish(log, true).await?;
        Ok(Sealed {
            sealed: done.sealed + added,
            ..done
        })
    }
}

/// Seals until the store is dropped. Errors are logged and retried: sealing never stops requests.
pub(crate) async fn run<DB: AuditDatabase>(
    store: Weak<Store<DB>>,
    worker: Arc<tokio::sync::Mutex<Worker>>,
) {
    let mut backoff = SEAL_EVERY;
    loop {
        tokio::time::sleep(backoff).await;
        let Some(store) = store.upgrade() else { return };
        let mut worker = worker.lock().await;
        match worker.work(&store, false).await {
            Ok(_) => backoff = SEAL_EVERY,
            Err(error) => {
                backoff = (backoff * 2).min(MAX_BACKOFF);
                worker.status.failed();
                tracing::error!(
                    schema = store.name(),
                    error = describe(&error),
                    "audit records are not sealed; they are sealed once the cause is removed"
                );
            }
        }
    }
}

/// The error with the cause of a file's.
pub(crate) fn describe(error: &SealError) -> String {
    match error {
        SealError::File { source, .. } => format!("{error}: {source}"),
        other => other.to_string(),
    }
}
