//! Signs checkpoints, and publishes the log with them.

use std::time::Instant;

use platform_audit_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use platform_audit_tlog::tree::Hash;

use super::checkpoint::{Published, sign};
use super::directory::Directory;
use super::error::SealError;
use super::log::{SealedLog, Tree};
use super::run::{Worker, describe};
use crate::store::AuditDatabase;

impl Worker {
    /// Signs the tree of `size` entries, and publishes it, unless that was done before.
    ///
    /// A witness that does not cosign is not an error: the checkpoint is published without its
    /// cosignature.
    pub(super) async fn publish<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
        size: u64,
        root: Hash,
    ) -> Result<(), SealError> {
        let is_new = self.published.as_ref().is_none_or(|it| it.0 != size);
        #[cfg(feature = "witness")]
        let is_due = is_new || self.witnesses.iter().any(|it| it.is_due(size));
        #[cfg(not(feature = "witness"))]
        let is_due = is_new;
        if !is_due {
            return Ok(());
        }
        self.last_checkpoint = Some(Instant::now());
        let signed = self.signed(size, root)?;
        #[cfg(feature = "witness")]
        let (signed, is_new) = {
            let (mut signed, mut is_new) = (signed, is_new);
            for witness in self.witnesses.iter_mut().filter(|it| it.is_due(size)) {
                match witness.cosign(log, &mut signed).await {
                    Ok(()) => is_new = true,
                    Err(error) => self.failures.push(error),
                }
            }
            (signed, is_new)
        };
        match is_new {
            true => self.publish_note(log, &Published::new(&signed)).await,
            false => Ok(()),
        }
    }

    /// Passes the last checkpoint to the sinks and buckets.
    ///
    /// What fails there, or at a witness, is logged and tried again later: it stops neither the
    /// sealing nor the publishing. It is an error only with `now`, after everything else was done.
    pub(super) async fn forward<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
        now: bool,
    ) -> Result<(), SealError> {
        if let Some((_, note)) = &self.published {
            #[cfg(feature = "object-store")]
            for bucket in &mut self.buckets {
                let published = bucket.publish(log, note, now).await;
                self.failures.extend(published.err());
            }
            for sink in &mut self.sinks {
                self.failures.extend(sink.publish(note, now).await.err());
            }
        }
        for error in &self.failures {
            self.status.failed();
            tracing::error!(
                schema = log.schema,
                error = describe(error),
                "a checkpoint of the audit log was not published everywhere; this is tried again"
            );
        }
        match self.failures.drain(..).next() {
            Some(error) if now => Err(error),
            _ => Ok(()),
        }
    }

    /// Fails if the published log is ahead of the database, or contradicts it: the database may
    /// have been restored while this service runs. A bucket that cannot be read is checked later.
    pub(super) async fn refuse_contradiction<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
    ) -> Result<(), SealError> {
        #[cfg(feature = "object-store")]
        for bucket in &mut self.buckets {
            match bucket.refuse_contradiction(log).await {
                Err(SealError::Sink(error)) => self.failures.push(SealError::Sink(error)),
                done => done?,
            }
        }
        let Some(directory) = &self.directory else {
            return Ok(());
        };
        let newest = directory.checkpoint()?;
        let newest = newest.and_then(|note| Published::parse(note.as_bytes()));
        let newest = newest.map(|it| it.checkpoint.size());
        let before = self.published.as_ref().map(|it| it.0);
        let (Some(published), true) = (before, newest == before) else {
            return refuse_directory(log, directory).await;
        };
        // Nobody else has published, so only the database can have changed.
        refuse_shorter(log, &directory.place("checkpoint"), published).await
    }

    /// Returns the published checkpoint of this tree, which may have cosignatures, or signs a new
    /// one.
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
pub(super) async fn refuse_directory<DB: AuditDatabase>(
    log: &mut SealedLog<'_, DB>,
    directory: &Directory,
) -> Result<(), SealError> {
    match newest(directory)? {
        Some(newest) => {
            let place = directory.place("checkpoint");
            refuse_contradiction(log, &place, &newest.checkpoint).await
        }
        None => Ok(()),
    }
}

/// Fails if the checkpoint, which is at `place`, is ahead of the database, or contradicts it.
pub(super) async fn refuse_contradiction<DB: AuditDatabase>(
    log: &mut SealedLog<'_, DB>,
    place: &str,
    published: &Checkpoint,
) -> Result<(), SealError> {
    refuse_shorter(log, place, published.size()).await?;
    let edge = log.builder(published.size()).await;
    if edge.is_ok_and(|edge| edge.root() == published.root()) {
        return Ok(());
    }
    Err(SealError::Fork {
        place: place.to_owned(),
        size: published.size(),
    })
}

/// Fails if the database has fewer entries than were `published` at `place`.
pub(super) async fn refuse_shorter<DB: AuditDatabase>(
    log: &mut SealedLog<'_, DB>,
    place: &str,
    published: u64,
) -> Result<(), SealError> {
    let tree: Option<Tree> = log.json(log.sql.tree()).await?;
    let size = tree.map_or(0, |tree| tree.size);
    match published > size {
        true => Err(SealError::Behind {
            place: place.to_owned(),
            published,
            size,
        }),
        false => Ok(()),
    }
}

/// The largest checkpoint of the directory.
pub(super) fn newest(directory: &Directory) -> Result<Option<Published>, SealError> {
    let archived = directory.checkpoints()?.pop().map(|it| it.1);
    let notes = directory.checkpoint()?.into_iter().chain(archived);
    let found = notes.filter_map(|note| Published::parse(note.as_bytes()));
    Ok(found.max_by_key(|it| it.checkpoint.size()))
}

fn published_size(directory: &Directory) -> Result<u64, SealError> {
    Ok(newest(directory)?.map_or(0, |it| it.checkpoint.size()))
}
