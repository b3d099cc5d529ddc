use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use thiserror::Error;

use super::nodes::{Node, consistency_ranges, inclusion_ranges, perfect_nodes, tiles};
use super::{TileError, TileId, TileReader};
use crate::tree::{EMPTY_ROOT, Frontier, HASH_BYTES, Hash, RangeError, node_hash, perfect_root};

/// Returns the proof that the entry at `index` (from 0) is in the tree of `size` entries (RFC 6962,
/// section 2.1.1), which [`verify_inclusion`](crate::tree::verify_inclusion) checks.
///
/// The tiles are not checked: a damaged tile results in a proof that does not hold, so verify it
/// against the root of a checkpoint before passing it on.
///
/// # Errors
///
/// The index is not below the size, or a tile cannot be read or has a wrong length.
pub fn inclusion_proof<R: TileReader>(
    index: u64,
    size: u64,
    reader: &R,
) -> Result<Vec<Hash>, ReadError<R::Error>> {
    roots(&inclusion_ranges(index, size)?, size, reader)
}

/// Returns the proof that the tree of `new` entries begins with the tree of `old` entries (RFC
/// 6962, section 2.1.2), which [`verify_consistency`](crate::tree::verify_consistency) checks.
///
/// It is empty if the old tree is empty or the sizes are equal. The tiles are not checked: verify
/// the proof against the roots of two checkpoints before passing it on.
///
/// # Errors
///
/// The old size exceeds the new one, or a tile cannot be read or has a wrong length.
pub fn consistency_proof<R: TileReader>(
    old: u64,
    new: u64,
    reader: &R,
) -> Result<Vec<Hash>, ReadError<R::Error>> {
    roots(&consistency_ranges(old, new)?, new, reader)
}

/// Returns the root of the tree of `size` entries, as the tiles have it.
///
/// It reads the partial tiles of that size only, so it says nothing about tiles below them.
///
/// # Errors
///
/// A tile cannot be read or has a wrong length.
pub fn root_at<R: TileReader>(size: u64, reader: &R) -> Result<Hash, ReadError<R::Error>> {
    let ranges = std::slice::from_ref(&(0..size)).to_vec();
    Ok(roots(&ranges, size, reader)?.pop().unwrap_or(EMPTY_ROOT))
}

/// Returns the frontier of the tree of `size` entries, as the tiles have it.
///
/// # Errors
///
/// A tile cannot be read or has a wrong length, or the size exceeds
/// [`MAX_FRONTIER_SIZE`](crate::tree::MAX_FRONTIER_SIZE).
pub fn frontier_at<R: TileReader>(size: u64, reader: &R) -> Result<Frontier, ReadError<R::Error>> {
    let whole = 0..size;
    let loaded = Loaded::new(std::slice::from_ref(&whole), size, reader)?;
    let hashes = perfect_nodes(&whole)
        .map(|node| loaded.node(node))
        .collect();
    Ok(Frontier::from_parts(size, hashes).map_err(TileError::from)?)
}

/// Returns the root of each range of entries.
fn roots<R: TileReader>(
    ranges: &[Range<u64>],
    size: u64,
    reader: &R,
) -> Result<Vec<Hash>, ReadError<R::Error>> {
    let loaded = Loaded::new(ranges, size, reader)?;
    Ok(ranges.iter().map(|range| loaded.root(range)).collect())
}

/// Reads the tile, and checks its length: that of the tile, or of the full one.
pub(super) fn read<R: TileReader>(
    reader: &R,
    id: TileId,
) -> Result<Cow<'_, [u8]>, ReadError<R::Error>> {
    let bytes = reader
        .tile(id)
        .map_err(|source| ReadError::Read { tile: id, source })?;
    match bytes.len() == id.bytes() || bytes.len() == id.full().bytes() {
        true => Ok(bytes),
        false => Err(TileError::Length {
            tile: id,
            actual: bytes.len(),
        }
        .into()),
    }
}

/// The tiles that a calculation needs, each read once.
struct Loaded<'a> {
    size: u64,
    tiles: BTreeMap<TileId, Cow<'a, [u8]>>,
}

impl<'a> Loaded<'a> {
    fn new<R: TileReader>(
        ranges: &[Range<u64>],
        size: u64,
        reader: &'a R,
    ) -> Result<Self, ReadError<R::Error>> {
        let tiles = tiles(ranges, size)
            .into_iter()
            .map(|id| Ok((id, read(reader, id)?)));
        Ok(Self {
            size,
            tiles: tiles.collect::<Result<_, ReadError<_>>>()?,
        })
    }

    fn root(&self, range: &Range<u64>) -> Hash {
        let hashes: Vec<Hash> = perfect_nodes(range).map(|node| self.node(node)).collect();
        let root = hashes
            .into_iter()
            .rev()
            .reduce(|right, left| node_hash(&left, &right));
        root.unwrap_or(EMPTY_ROOT)
    }

    fn node(&self, node: Node) -> Hash {
        let (tile, hashes) = node.tile(self.size);
        // `new` loaded the tile, and `read` checked that it is long enough.
        let bytes = self.tiles.get(&tile).map_or(&[][..], |it| it);
        let bytes = bytes.get(hashes.start * HASH_BYTES..hashes.end * HASH_BYTES);
        perfect_root(bytes.unwrap_or_default())
    }
}

/// Tiles cannot be read, or what is asked of them does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadError<E: std::error::Error + 'static> {
    /// An index or a size is out of range.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// A tile has a wrong length, or the tree is too large.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// The reader returned an error.
    #[error("{tile} cannot be read")]
    Read {
        /// The tile.
        tile: TileId,
        /// The error of the reader.
        source: E,
    },
}
