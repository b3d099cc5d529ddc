//! The sealer of a service: seals, signs and publishes until the service ends.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use platform_audit_tlog::checkpoint::SignedCheckpoint;
use platform_audit_tlog::tree::Hash;

use super::canonical::{RESTORE, other_entry};
use super::checkpoint::{Published, sign};
use super::directory::Directory;
use super::error::SealError;
use super::log::{Restore, SealedLog, Tree};
use super::options::Seal;
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
    seal: Seal,
    sealer: Sealer,
    directory: Option<Directory>,
    /// The last checkpoint that this worker published, apart from `sinks`.
    published: Option<(u64, Arc<str>)>,
    sinks: Vec<SinkState>,
    #[cfg(feature = "witness")]
    witnesses: Vec<WitnessState>,
    last_checkpoint: Option<Instant>,
    status: Arc<SealStatus>,
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
            #[cfg(feature = "witness")]
            witnesses: seal
                .witnesses
                .iter()
                .cloned()
                .map(WitnessState::new)
                .collect(),
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
        let mut connection = store.connections.acquire().await?;
        let mut log = SealedLog::<DB> {
            connection: &mut connection,
            sql: store.dialect().seal_sql(),
            schema: store.name(),
        };
        let worked = self.seal_and_publish(&mut log, now).await;
        match &worked {
            // Any error may have left the connection in a transaction.
            Err(_) => drop(connection),
            Ok(_) => connection.release(),
        }
        worked
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
            self.publish(log, size, root, now).await?;
        }
        Ok(Sealed {
            sealed,
            size,
            busy: false,
        })
    }

    /// Fails if the published log is ahead of the database, or contradicts it: the database may
    /// have been restored while this service runs.
    async fn refuse_contradiction<DB: AuditDatabase>(
        &self,
        log: &mut SealedLog<'_, DB>,
    ) -> Result<(), SealError> {
        let Some(directory) = &self.directory else {
            return Ok(());
        };
        let newest = directory.checkpoint()?;
        let newest = newest.and_then(|note| Published::parse(note.as_bytes()));
        let newest = newest.map(|it| it.checkpoint.size());
        let known = self.published.as_ref().map(|it| it.0);
        let (Some(published), true) = (known, newest == known) else {
            return refuse_contradiction(log, directory).await;
        };
        // Nobody else has published, so only the database can have changed.
        let tree: Option<Tree> = log.json(log.sql.tree()).await?;
        let size = tree.map_or(0, |tree| tree.size);
        if published <= size {
            return Ok(());
        }
        Err(SealError::Behind {
            place: directory.place("checkpoint").into_owned(),
            published,
            size,
        })
    }

    /// See [`AuditBuilder::resume`](crate::AuditBuilder::resume).
    pub(crate) async fn resume<DB: AuditDatabase>(
        &mut self,
        store: &Store<DB>,
        because: &str,
    ) -> Result<Sealed, SealError> {
        let mut connection = store.connections.acquire().await?;
        let mut log = SealedLog::<DB> {
            connection: &mut connection,
            sql: store.dialect().seal_sql(),
            schema: store.name(),
        };
        let resumed = self.resume_in(&mut log, because).await;
        match &resumed {
            Err(_) => drop(connection),
            Ok(_) => connection.release(),
        }
        resumed
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

    /// Signs the tree of `size` entries, and publishes it, unless that was done before.
    ///
    /// What a witness or a sink does is logged, and tried again later: neither stops the sealing
    /// or the publishing. It is an error only with `now`, after everything else was done.
    async fn publish<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
        size: u64,
        root: Hash,
        now: bool,
    ) -> Result<(), SealError> {
        let mut failures = Vec::new();
        let is_new = self.published.as_ref().is_none_or(|it| it.0 != size);
        #[cfg(feature = "witness")]
        let is_due = is_new || self.witnesses.iter().any(|it| it.is_due(size));
        #[cfg(not(feature = "witness"))]
        let is_due = is_new;
        if is_due {
            self.last_checkpoint = Some(Instant::now());
            let signed = self.signed(size, root)?;
            #[cfg(feature = "witness")]
            let (signed, is_new) = {
                let (mut signed, mut is_new) = (signed, is_new);
                for witness in self.witnesses.iter_mut().filter(|it| it.is_due(size)) {
                    match witness.cosign(log, &mut signed).await {
                        Ok(()) => is_new = true,
                        Err(error) => failures.push(error),
                    }
                }
                (signed, is_new)
            };
            if is_new {
                self.publish_note(log, &Published::new(&signed)).await?;
            }
        }
        if let Some((_, note)) = &self.published {
            for sink in &mut self.sinks {
                failures.extend(sink.publish(note, now).await.err());
            }
        }
        for error in &failures {
            self.status.failed();
            tracing::error!(
                schema = log.schema,
                error = describe(error),
                "a checkpoint of the audit log was not published everywhere; this is tried again"
            );
        }
        match failures.into_iter().next() {
            Some(error) if now => Err(error),
            _ => Ok(()),
        }
    }

    /// The checkpoint of this tree: the one that was published, as it may have cosignatures, or a
    /// new one.
    fn signed(&self, size: u64, root: Hash) -> Result<SignedCheckpoint, SealError> {
        let published = self.published.as_ref().map(|(_, note)| note.to_string());
        let in_directory = match &self.directory {
            Some(directory) => directory.checkpoint()?,
            None => None,
        };
        let keys = [self.seal.signer.key().clone()];
        let mut opened = published
            .into_iter()
            .chain(in_directory)
            .filter_map(|note| SignedCheckpoint::open(note, &keys).ok());
        let same = opened.find(|signed| {
            let checkpoint = signed.checkpoint();
            checkpoint.size() == size && checkpoint.root() == root
        });
        same.map_or_else(|| sign(&self.seal, size, root), Ok)
    }

    /// Publishes the tiles, then the checkpoint, and only then tells the database that it did.
    async fn publish_note<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
        checkpoint: &Published,
    ) -> Result<(), SealError> {
        let size = checkpoint.checkpoint.size();
        if let Some(directory) = &self.directory {
            let before = match &self.published {
                Some((size, _)) => *size,
                None => published_size(directory)?,
            };
            directory
                .publish(log, &self.sealer, before, checkpoint)
                .await?;
        }
        let arguments = [size.to_string(), checkpoint.note.clone()];
        log.run(log.sql.insert_checkpoint(), &arguments).await?;
        tracing::info!(
            target: "audit.checkpoint",
            { audit.checkpoint.size = size, audit.checkpoint.note = checkpoint.note },
            "the audit log has a signed checkpoint"
        );
        self.published = Some((size, checkpoint.note.as_str().into()));
        Ok(())
    }
}

/// Fails if the published log is ahead of the database, or contradicts it.
pub(super) async fn refuse_contradiction<DB: AuditDatabase>(
    log: &mut SealedLog<'_, DB>,
    directory: &Directory,
) -> Result<(), SealError> {
    let Some(published) = newest(directory)? else {
        return Ok(());
    };
    let place = directory.place("checkpoint").into_owned();
    let published = published.checkpoint;
    let tree: Option<Tree> = log.json(log.sql.tree()).await?;
    let size = tree.map_or(0, |tree| tree.size);
    if published.size() > size {
        return Err(SealError::Behind {
            place,
            published: published.size(),
            size,
        });
    }
    let edge = log.builder(published.size()).await;
    if edge.is_ok_and(|edge| edge.root() == published.root()) {
        return Ok(());
    }
    Err(SealError::Fork {
        place,
        size: published.size(),
    })
}

/// The largest checkpoint of the directory.
fn newest(directory: &Directory) -> Result<Option<Published>, SealError> {
    let archived = directory.checkpoints()?.pop().map(|it| it.1);
    let notes = directory.checkpoint()?.into_iter().chain(archived);
    let found = notes.filter_map(|note| Published::parse(note.as_bytes()));
    Ok(found.max_by_key(|it| it.checkpoint.size()))
}

fn published_size(directory: &Directory) -> Result<u64, SealError> {
    Ok(newest(directory)?.map_or(0, |it| it.checkpoint.size()))
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
