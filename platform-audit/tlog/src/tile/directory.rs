use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{BundleId, MAX_BUNDLE_BYTES, TILE_WIDTH, TileId, TileReader};
use crate::tree::HASH_BYTES;

const FULL_BYTES: usize = TILE_WIDTH as usize * HASH_BYTES;

/// Reads tiles and entry bundles of a directory with the layout of C2SP tlog-tiles. The calls
/// block.
///
/// ```
/// use platform_audit_tlog::tile::{DirectoryTiles, root_at};
/// use platform_audit_tlog::tree::leaf_hash;
///
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// std::fs::create_dir_all(directory.join("tile/0/000.p"))?;
/// std::fs::write(directory.join("tile/0/000.p/1"), leaf_hash(b"entry"))?;
///
/// let tiles = DirectoryTiles::new(directory);
/// assert_eq!(root_at(1, &tiles)?, leaf_hash(b"entry"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct DirectoryTiles {
    directory: PathBuf,
}

impl DirectoryTiles {
    /// Returns a reader of the directory that contains `tile/`.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Returns the directory that contains `tile/`.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the bytes of a bundle, which [`decode_bundle`](super::decode_bundle) reads, and its
    /// actual width: 256 if the partial bundle was deleted and the full one exists.
    ///
    /// # Errors
    ///
    /// Neither exists, or it cannot be read or exceeds [`MAX_BUNDLE_BYTES`].
    pub fn bundle(&self, id: BundleId) -> Result<(Vec<u8>, u16), DirectoryError> {
        let full = id.full();
        match self.read(&id.path(), MAX_BUNDLE_BYTES) {
            Err(error) if error.is_not_found() && id != full => {
                Ok((self.read(&full.path(), MAX_BUNDLE_BYTES)?, TILE_WIDTH))
            }
            other => Ok((other?, id.width())),
        }
    }

    fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, DirectoryError> {
        let path = self.directory.join(path);
        let mut bytes = Vec::new();
        // One byte more than the limit shows that the file is too long, whatever its length.
        let read =
            File::open(&path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes));
        match read {
            Err(source) => Err(DirectoryError::Read { path, source }),
            Ok(length) if length > limit => Err(DirectoryError::TooLong { path, limit }),
            Ok(_) => Ok(bytes),
        }
    }
}

impl TileReader for DirectoryTiles {
    type Error = DirectoryError;

    /// Returns the tile, or the full one if a partial tile does not exist any more.
    fn tile(&self, id: TileId) -> Result<Cow<'_, [u8]>, DirectoryError> {
        match self.read(&id.path(), FULL_BYTES) {
            Err(error) if error.is_not_found() && id.is_partial() => {
                self.read(&id.full().path(), FULL_BYTES)
            }
            other => other,
        }
        .map(Cow::Owned)
    }
}

/// A file of the log cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The file does not exist or cannot be read.
    #[error("cannot read {}: check that the log was published up to this size", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is longer than any tile or bundle.
    #[error("{} is longer than {limit} bytes, so it is not part of a log", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The length of the longest tile or bundle in bytes.
        limit: usize,
    },
}

impl DirectoryError {
    /// Returns whether the file does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == ErrorKind::NotFound)
    }
}
