use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use thiserror::Error;

use super::TileId;

/// Reads tiles, from wherever they are.
///
/// ```
/// use std::borrow::Cow;
/// use platform_audit_tlog::tile::{TileId, TileReader, root_at};
/// use platform_audit_tlog::tree::leaf_hash;
///
/// struct SingleEntry;
///
/// impl TileReader for SingleEntry {
///     type Error = std::convert::Infallible;
///
///     fn tile(&self, _: TileId) -> Result<Cow<'_, [u8]>, Self::Error> {
///         Ok(Cow::Owned(leaf_hash(b"entry").as_bytes().to_vec()))
///     }
/// }
///
/// assert_eq!(root_at(1, &SingleEntry)?, leaf_hash(b"entry"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait TileReader {
    /// Why a tile cannot be read.
    type Error: std::error::Error + 'static;

    /// Returns the concatenated hashes of the tile.
    ///
    /// A log may delete a partial tile once the full one exists (C2SP tlog-tiles, “Partial Tiles”),
    /// so the reader may return the full tile for a partial one, of which it is the beginning. Any
    /// other length is an error of the caller.
    ///
    /// # Errors
    ///
    /// The tile does not exist, or cannot be read.
    fn tile(&self, id: TileId) -> Result<Cow<'_, [u8]>, Self::Error>;
}

impl<R: TileReader + ?Sized> TileReader for &R {
    type Error = R::Error;

    fn tile(&self, id: TileId) -> Result<Cow<'_, [u8]>, Self::Error> {
        (**self).tile(id)
    }
}

/// Tiles that were loaded before. The full tile takes the place of a partial one that is missing.
impl TileReader for BTreeMap<TileId, Vec<u8>> {
    type Error = MissingTile;

    fn tile(&self, id: TileId) -> Result<Cow<'_, [u8]>, MissingTile> {
        let bytes = self.get(&id).or_else(|| self.get(&id.full()));
        bytes
            .map(|it| Cow::Borrowed(it.as_slice()))
            .ok_or(MissingTile(id))
    }
}

/// Tiles that were loaded before. The full tile takes the place of a partial one that is missing.
impl<S: BuildHasher> TileReader for HashMap<TileId, Vec<u8>, S> {
    type Error = MissingTile;

    fn tile(&self, id: TileId) -> Result<Cow<'_, [u8]>, MissingTile> {
        let bytes = self.get(&id).or_else(|| self.get(&id.full()));
        bytes
            .map(|it| Cow::Borrowed(it.as_slice()))
            .ok_or(MissingTile(id))
    }
}

/// A map does not contain a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} was not loaded: load every tile that is needed first")]
pub struct MissingTile(pub TileId);
