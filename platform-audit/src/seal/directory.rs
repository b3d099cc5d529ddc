//! A log that is published in a directory (C2SP tlog-tiles).

use std::borrow::Cow;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use platform_audit_tlog::tile::{BundleId, Tile, TileId, decode_bundle, encode_bundle};

use super::checkpoint::Published;
use super::error::SealError;
use super::log::SealedLog;
use super::sealer::Sealer;
use crate::store::AuditDatabase;

/// The number of entries of a full tile.
const WIDTH: u64 = 256;

/// The number of entries that are read at once, a multiple of [`WIDTH`].
const CHUNK: u64 = 64 * WIDTH;

/// The directory that contains `checkpoint`, `checkpoints/` and `tile/`.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    root: PathBuf,
}

impl Directory {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// The newest checkpoint; `None` if there is none.
    pub(crate) fn checkpoint(&self) -> Result<Option<String>, SealError> {
        let bytes = self.read("checkpoint")?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Every checkpoint that was published, by file name.
    pub(crate) fn checkpoints(&self) -> Result<Vec<(String, String)>, SealError> {
        let folder = self.root.join("checkpoints");
        let files = match std::fs::read_dir(&folder) {
            Ok(files) => files,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(file(&folder, "read", source)),
        };
        let mut found = Vec::new();
        for entry in files {
            let entry = entry.map_err(|source| file(&folder, "read", source))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // A file that is being written has a name with a dot.
            if name.bytes().all(|byte| byte.is_ascii_digit())
                && let Some(bytes) = self.read(&format!("checkpoints/{name}"))?
            {
                found.push((name, String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
        found.sort();
        Ok(found)
    }

    /// The bytes of a tile: of the full one, if the partial one is gone.
    pub(crate) fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, SealError> {
        if let Some(bytes) = self.read(&id.path())? {
            return Ok(Some(bytes));
        }
        let full = self.read(&id.full().path())?;
        Ok(full.map(|mut bytes| {
            bytes.truncate(id.bytes());
            bytes
        }))
    }

    /// The bytes of an entry bundle, which may be the full one.
    pub(crate) fn bundle(&self, id: BundleId) -> Result<Option<Vec<u8>>, SealError> {
        match self.read(&id.path())? {
            Some(bytes) => Ok(Some(bytes)),
            None => self.read(&id.full().path()),
        }
    }

    /// Whether the bundle contains this. A full bundle may have taken the place of a partial one.
    pub(crate) fn has_bundle(&self, id: BundleId, expected: &[u8]) -> Result<bool, SealError> {
        if let Some(bytes) = self.read(&id.path())? {
            return Ok(bytes == expected);
        }
        let full = self.read(&id.full().path())?;
        Ok(full.is_some_and(|bytes| bytes.starts_with(expected)))
    }

    /// The published entries from `start` to `end`, exclusive.
    pub(crate) fn entries(&self, start: u64, end: u64) -> Result<Vec<Vec<u8>>, SealError> {
        let mut entries = Vec::new();
        for index in start / WIDTH..end.div_ceil(WIDTH) {
            let width = (end - index * WIDTH).min(WIDTH) as u16;
            let id = BundleId::new(index, width).map_err(SealError::malformed)?;
            let bundle = self.bundle(id)?.ok_or_else(|| {
                SealError::NotFound(format!("{} is missing", self.place(&id.path())))
            })?;
            let decoded = decode_bundle(&bundle, width).map_err(SealError::malformed)?;
            let skipped = usize::try_from(start.saturating_sub(index * WIDTH)).unwrap_or(0);
            entries.extend(decoded.into_iter().skip(skipped).map(<[u8]>::to_vec));
        }
        Ok(entries)
    }

    /// Publishes the tiles and entries of the log up to the size of `sealer`, and then its signed
    /// checkpoint. Whatever was published before stays.
    pub(crate) async fn publish<DB: AuditDatabase>(
        &self,
        log: &mut SealedLog<'_, DB>,
        sealer: &Sealer,
        before: u64,
        checkpoint: &Published,
    ) -> Result<(), SealError> {
        let size = sealer.edge().size();
        // Other instances may publish to the same directory, an older size among them.
        let _locked = self.lock().await?;
        for level in 0..8_u8 {
            let shift = 8 * (u32::from(level) + 1);
            let end = size.checked_shr(shift).unwrap_or(0);
            let start = before.checked_shr(shift).unwrap_or(0);
            for index in start..end {
                let id = TileId::new(level, index, 256).map_err(SealError::malformed)?;
                let hashes = log.tile(id).await?.ok_or(SealError::Damaged)?;
                self.write(&id.path(), &hashes)?;
            }
        }
        for tile in sealer.edge().partial_tiles() {
            self.write_tile(&tile)?;
        }
        let mut first = before - before % WIDTH;
        while first < size {
            let end = (first + CHUNK).min(size);
            let entries = log.entries(first, end).await?;
            if entries.len() as u64 != end - first {
                return Err(SealError::Damaged);
            }
            for (bundle, index) in entries.chunks(WIDTH as usize).zip(first / WIDTH..) {
                let id = BundleId::new(index, bundle.len() as u16).map_err(SealError::malformed)?;
                let bundle = encode_bundle(bundle.iter().map(|(_, entry)| entry))
                    .map_err(SealError::malformed)?;
                self.write(&id.path(), &bundle)?;
            }
            first = end;
        }
        // Create-only: a checkpoint of this size with another root is a fork.
        let archived = format!("checkpoints/{size:020}");
        match self.read(&archived)? {
            None => self.write(&archived, checkpoint.note.as_bytes())?,
            Some(bytes) => checkpoint.refuse_fork(&bytes, &self.place(&archived))?,
        }
        let newest = self.read("checkpoint")?;
        let newest = newest.and_then(|note| Published::parse(&note));
        if newest.is_some_and(|it| it.checkpoint.size() > size) {
            return Ok(());
        }
        self.replace("checkpoint", checkpoint.note.as_bytes())
    }

    /// Waits until no other instance publishes. The lock ends when the file is dropped.
    async fn lock(&self) -> Result<std::fs::File, SealError> {
        let path = self.root.join(".lock");
        let opened = std::fs::create_dir_all(&self.root).and_then(|()| {
            std::fs::File::options()
                .create(true)
                .append(true)
                .open(&path)
        });
        let opened = opened.map_err(|source| file(&path, "written", source))?;
        loop {
            match opened.try_lock() {
                Ok(()) => return Ok(opened),
                Err(std::fs::TryLockError::WouldBlock) => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                Err(std::fs::TryLockError::Error(source)) => {
                    return Err(file(&path, "locked", source));
                }
            }
        }
    }

    fn write_tile(&self, tile: &Tile) -> Result<(), SealError> {
        self.write(&tile.id().path(), tile.bytes())
    }

    /// Writes a file unless it exists with the same bytes. One with other bytes was damaged.
    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), SealError> {
        match self.read(path)? {
            Some(found) if found == bytes => Ok(()),
            _ => self.replace(path, bytes),
        }
    }

    /// Writes a file so that a reader finds the old one or the new one, also after a power failure.
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), SealError> {
        let path = self.root.join(path);
        let temporary = path.with_extension(format!("{}.new", std::process::id()));
        let written = (|| {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let mut new = std::fs::File::create(&temporary)?;
            new.write_all(bytes)?;
            new.sync_all()?;
            std::fs::rename(&temporary, &path)
        })();
        written.map_err(|source| file(&path, "written", source))
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SealError> {
        let path = self.root.join(path);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(file(&path, "read", source)),
        }
    }

    pub(crate) fn place(&self, path: &str) -> Cow<'static, str> {
        self.root.join(path).display().to_string().into()
    }
}

fn file(path: &Path, action: &'static str, source: std::io::Error) -> SealError {
    SealError::File {
        path: path.to_owned(),
        action,
        source,
    }
}
