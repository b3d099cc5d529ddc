//! A log that is published in an object store (C2SP tlog-tiles).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::checkpoint::Published;
use super::error::SealError;
use super::log::SealedLog;
use super::publish::{refuse_contradiction, refuse_shorter};
use super::resource::Resource;
use super::sinks::Backoff;
use crate::store::AuditDatabase;

/// How many objects are written at the same time, and in one pass of the sealer.
const AT_ONCE: usize = 32;

/// How long the requests of a pass may take, as sealing waits for them.
const TIMEOUT: Duration = Duration::from_secs(2);

/// An object store, and a prefix in it.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) prefix: String,
}

impl Bucket {
    fn place(&self, path: &str) -> String {
        format!("{}: {}", self.store, self.path(path))
    }

    fn path(&self, path: &str) -> Path {
        Path::from(format!("{}/{path}", self.prefix))
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SealError> {
        let read = async {
            match self.store.get(&self.path(path)).await {
                Ok(found) => found.bytes().await.map(|bytes| Some(bytes.to_vec())),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        read.await.map_err(|error| self.failed(&error))
    }

    /// Creates an object. Returns the one that is there already, if it has other bytes.
    async fn create(&self, path: &str, bytes: Vec<u8>) -> Result<Option<Vec<u8>>, SealError> {
        let options = PutOptions::from(PutMode::Create);
        let payload = bytes.clone().into();
        let location = self.path(path);
        match self.store.put_opts(&location, payload, options).await {
            Ok(_) => Ok(None),
            Err(Error::AlreadyExists { .. }) => {
                Ok(self.read(path).await?.filter(|found| *found != bytes))
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &Error) -> SealError {
        SealError::Sink(error.to_string())
    }
}

/// What a bucket has.
#[derive(Debug)]
pub(super) struct BucketState {
    bucket: Bucket,
    /// The size of its newest checkpoint; `None` until that is known.
    published: Option<u64>,
    /// The last note that it has.
    accepted: Option<Arc<str>>,
    upload: Option<Upload>,
    backoff: Backoff,
}

/// A checkpoint whose files are being written.
#[derive(Debug)]
struct Upload {
    note: Arc<str>,
    checkpoint: Published,
    files: Vec<Resource>,
    /// How many of them are written.
    written: usize,
}

impl BucketState {
    pub(super) fn new(bucket: Bucket) -> Self {
        Self {
            bucket,
            published: None,
            accepted: None,
            upload: None,
            backoff: Backoff::default(),
        }
    }

    /// Fails if the published log is ahead of the database, or contradicts it. The bucket is read
    /// only once.
    pub(super) async fn refuse_contradiction<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
    ) -> Result<(), SealError> {
        if let Some(published) = self.published {
            return refuse_shorter(log, &self.bucket.place("checkpoint"), published).await;
        }
        if !self.backoff.is_over() {
            return Ok(());
        }
        let opened = self.open(log).await;
        self.back_off(&opened);
        opened
    }

    /// Writes some of the files of the newest checkpoint, whose text is `note`; the next call
    /// continues. After the last one, it writes the checkpoint. With `now`, it does all of that.
    pub(super) async fn publish<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
        note: &Arc<str>,
        now: bool,
    ) -> Result<(), SealError> {
        if !now && !self.backoff.is_over() {
            return Ok(());
        }
        while self.accepted.as_ref() != Some(note) {
            let stepped = self.step(log, note).await;
            self.back_off(&stepped);
            stepped?;
            if !now {
                break;
            }
        }
        Ok(())
    }

    fn back_off(&mut self, done: &Result<(), SealError>) {
        match done {
            Ok(()) => self.backoff.succeeded(),
            Err(_) => self.backoff.failed(),
        }
    }

    async fn open<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
    ) -> Result<(), SealError> {
        let bucket = &self.bucket;
        let found = in_time(bucket, bucket.read("checkpoint")).await?;
        let newest = found.as_deref().and_then(Published::parse);
        if let Some(newest) = &newest {
            refuse_contradiction(log, &bucket.place("checkpoint"), &newest.checkpoint).await?;
        }
        self.published = Some(newest.map_or(0, |it| it.checkpoint.size()));
        Ok(())
    }

    async fn step<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
        note: &Arc<str>,
    ) -> Result<(), SealError> {
        let Some(published) = self.published else {
            return self.open(log).await;
        };
        let bucket = &self.bucket;
        let upload = match &mut self.upload {
            Some(upload) => upload,
            empty => empty.insert(Upload::new(note, published)?),
        };
        let size = upload.checkpoint.checkpoint.size();
        let fork = |path: &str| SealError::Fork {
            place: bucket.place(path),
            size,
        };
        let rest = upload.files.iter().skip(upload.written);
        let mut files = Vec::with_capacity(AT_ONCE);
        for file in rest.take(AT_ONCE) {
            files.push((file.path(), file.read(log).await?));
        }
        if !files.is_empty() {
            let count = files.len();
            let written = files.into_iter().map(|(path, bytes)| async {
                let (path, bytes) = (path, bytes);
                match bucket.create(&path, bytes).await? {
                    None => Ok(()),
                    Some(_) => Err(fork(&path)),
                }
            });
            in_time(bucket, try_join_all(written)).await?;
            upload.written += count;
            return Ok(());
        }
        // Create-only: a checkpoint of this size with another root is a fork.
        let archived = format!("checkpoints/{size:020}");
        let write = async {
            let bytes = upload.note.as_bytes().to_vec();
            if let Some(found) = bucket.create(&archived, bytes.clone()).await? {
                upload
                    .checkpoint
                    .refuse_fork(&found, &bucket.place(&archived))?;
            }
            // Another instance may have published a later one.
            let found = bucket.read("checkpoint").await?;
            let newest = found.as_deref().and_then(Published::parse);
            if newest.is_none_or(|newest| newest.checkpoint.size() <= size) {
                let path = bucket.path("checkpoint");
                let put = bucket.store.put(&path, bytes.into()).await;
                put.map_err(|error| bucket.failed(&error))?;
            }
            Ok(())
        };
        in_time(bucket, write).await?;
        self.published = Some(size.max(published));
        self.accepted = Some(Arc::clone(&upload.note));
        self.upload = None;
        Ok(())
    }
}

impl Upload {
    fn new(note: &Arc<str>, published: u64) -> Result<Self, SealError> {
        let checkpoint = Published::parse(note.as_bytes());
        let checkpoint = checkpoint.ok_or_else(|| SealError::malformed("a checkpoint"))?;
        Ok(Self {
            note: Arc::clone(note),
            files: Resource::between(published, checkpoint.checkpoint.size()),
            written: 0,
            checkpoint,
        })
    }
}

async fn in_time<T>(
    bucket: &Bucket,
    work: impl Future<Output = Result<T, SealError>>,
) -> Result<T, SealError> {
    let done = tokio::time::timeout(TIMEOUT, work).await;
    done.unwrap_or_else(|_| {
        let store = &bucket.store;
        Err(SealError::Sink(format!(
            "{store} did not respond within {TIMEOUT:?}"
        )))
    })
}
