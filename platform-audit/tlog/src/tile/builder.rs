use thiserror::Error;

use super::prove::{ReadError, read};
use super::{TILE_WIDTH, TileId, TileReader, edge_tiles};
use crate::tree::{Frontier, FrontierError, HASH_BYTES, Hash, MAX_FRONTIER_SIZE, perfect_root};

const FULL_BYTES: usize = TILE_WIDTH as usize * HASH_BYTES;

/// A tile: its identifier and the concatenated hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    id: TileId,
    bytes: Vec<u8>,
}

impl Tile {
    /// Returns the tile with these bytes.
    ///
    /// # Errors
    ///
    /// The length is not 32 bytes for each hash of the identifier's width.
    pub fn new(id: TileId, bytes: Vec<u8>) -> Result<Self, TileError> {
        match bytes.len() == id.bytes() {
            true => Ok(Self { id, bytes }),
            false => Err(TileError::Length {
                tile: id,
                actual: bytes.len(),
            }),
        }
    }

    /// Returns the identifier.
    #[must_use]
    pub const fn id(&self) -> TileId {
        self.id
    }

    /// Returns the concatenated hashes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the concatenated hashes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Returns the hashes: of entries at level 0, else of the full tiles of the level below.
    pub fn hashes(&self) -> impl ExactSizeIterator<Item = Hash> + '_ {
        self.bytes.as_chunks().0.iter().copied().map(Hash::new)
    }

    /// Returns the hash of a full tile, which is one of the hashes of a tile at the level above;
    /// `None` for a partial tile, which has no such hash.
    #[must_use]
    pub fn root(&self) -> Option<Hash> {
        (!self.id.is_partial()).then(|| perfect_root(&self.bytes))
    }
}

/// Makes the tiles of a growing log (C2SP tlog-tiles).
///
/// It keeps the partial tiles at the right edge: at most 8 KiB for each level, of which a log of
/// 16 million entries has three. An entry costs one [`node_hash`](crate::tree::node_hash) on
/// average, and 32 bytes for its hash.
///
/// ```
/// use platform_audit_tlog::tile::TileBuilder;
/// use platform_audit_tlog::tree::leaf_hash;
///
/// let mut builder = TileBuilder::new();
/// let full = builder.extend((0..300_u32).map(|it| leaf_hash(&it.to_be_bytes())));
/// assert_eq!(full.iter().map(|it| it.id().path()).collect::<Vec<_>>(), ["tile/0/000"]);
///
/// // What else a checkpoint of 300 entries needs.
/// let partial = builder.partial_tiles();
/// assert_eq!(
///     partial.iter().map(|it| it.id().path()).collect::<Vec<_>>(),
///     ["tile/0/001.p/44", "tile/1/000.p/1"],
/// );
///
/// // Continue from the partial tiles later.
/// let restored = TileBuilder::from_tiles(300, partial)?;
/// assert_eq!(restored.root(), builder.root());
/// # Ok::<(), platform_audit_tlog::tile::TileError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TileBuilder {
    frontier: Frontier,
    /// The hashes of the partial tile of each level; empty where the last tile is full.
    edge: Vec<Vec<u8>>,
}

impl TileBuilder {
    /// Returns the builder for an empty log.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            frontier: Frontier::new(),
            edge: Vec::new(),
        }
    }

    /// Returns the builder for a log with `size` entries, from its partial tiles in any order:
    /// those that [`partial_tiles`](Self::partial_tiles) returned, and [`edge_tiles`] lists.
    ///
    /// The hashes are not checked: compare [`root`](Self::root) with a root that you trust.
    ///
    /// # Errors
    ///
    /// A partial tile of this size is missing, there are others, or the size exceeds
    /// [`MAX_FRONTIER_SIZE`].
    pub fn from_tiles(size: u64, tiles: impl IntoIterator<Item = Tile>) -> Result<Self, TileError> {
        if size > MAX_FRONTIER_SIZE {
            return Err(FrontierError::TooLarge(size).into());
        }
        let mut missing = edge_tiles(size);
        let mut edge = vec![Vec::new(); missing.last().map_or(0, |it| usize::from(it.level()) + 1)];
        for Tile { id, bytes } in tiles {
            let at = missing.iter().position(|it| *it == id);
            let at = at.ok_or(TileError::NotAtEdge { tile: id, size })?;
            missing.remove(at);
            edge[usize::from(id.level())] = bytes;
        }
        if let Some(tile) = missing.first() {
            return Err(TileError::Missing { tile: *tile, size });
        }
        let hashes = edge
            .iter()
            .rev()
            .flat_map(|bytes| edge_hashes(bytes))
            .collect();
        Ok(Self {
            frontier: Frontier::from_parts(size, hashes)?,
            edge,
        })
    }

    /// Returns the builder for a log with `size` entries, and reads its partial tiles.
    ///
    /// The hashes are not checked: compare [`root`](Self::root) with a root that you trust.
    ///
    /// # Errors
    ///
    /// A tile cannot be read or has a wrong length, or the size exceeds [`MAX_FRONTIER_SIZE`].
    pub fn load<R: TileReader>(size: u64, reader: &R) -> Result<Self, ReadError<R::Error>> {
        let read_tile = |id: TileId| {
            let mut bytes = read(reader, id)?.into_owned();
            bytes.truncate(id.bytes());
            Ok(Tile { id, bytes })
        };
        let tiles: Vec<Tile> = edge_tiles(size)
            .into_iter()
            .map(read_tile)
            .collect::<Result<_, ReadError<_>>>()?;
        Ok(Self::from_tiles(size, tiles)?)
    }

    /// Appends an entry by its [`leaf_hash`](crate::tree::leaf_hash), and returns the full tiles
    /// that it completes, the lowest level first. It completes one every 256 entries, and more than
    /// one every 65,536.
    #[must_use = "the completed tiles are returned only once"]
    pub fn push(&mut self, leaf: Hash) -> Vec<Tile> {
        let mut completed = Vec::new();
        self.append(leaf, &mut completed);
        completed
    }

    /// Appends entries by their hashes, and returns the full tiles that they complete, in the order
    /// of completion.
    #[must_use = "the completed tiles are returned only once"]
    pub fn extend(&mut self, leaves: impl IntoIterator<Item = Hash>) -> Vec<Tile> {
        let mut completed = Vec::new();
        for leaf in leaves {
            self.append(leaf, &mut completed);
        }
        completed
    }

    fn append(&mut self, leaf: Hash, completed: &mut Vec<Tile>) {
        let Self { frontier, edge } = self;
        let position = frontier.size();
        frontier.push_with(leaf, |height, node| {
            if !height.is_multiple_of(8) {
                return;
            }
            let level = height / 8;
            if edge.len() == level as usize {
                edge.push(Vec::with_capacity(FULL_BYTES));
            }
            let hashes = &mut edge[level as usize];
            hashes.extend_from_slice(node.as_bytes());
            if hashes.len() == FULL_BYTES {
                let bytes = std::mem::replace(hashes, Vec::with_capacity(FULL_BYTES));
                let index = position.checked_shr(8 * (level + 1)).unwrap_or(0);
                // A position of 64 bits has levels up to 7.
                completed.push(Tile {
                    id: TileId::of_tree(level as u8, index, TILE_WIDTH),
                    bytes,
                });
            }
        });
    }

    /// Returns the partial tiles of the current size, the lowest level first: what has to be
    /// published, beside the full tiles, before a checkpoint of this size.
    #[must_use]
    pub fn partial_tiles(&self) -> Vec<Tile> {
        let tile = |id: TileId| {
            let bytes = self
                .edge
                .get(usize::from(id.level()))
                .cloned()
                .unwrap_or_default();
            Tile { id, bytes }
        };
        edge_tiles(self.size()).into_iter().map(tile).collect()
    }

    /// Returns the number of entries.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Returns the root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Returns the frontier of the tree.
    #[must_use]
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }
}

/// Returns the roots of the perfect subtrees that a partial tile consists of, the largest first.
fn edge_hashes(bytes: &[u8]) -> Vec<Hash> {
    let mut rest = bytes;
    let mut hashes = Vec::new();
    while let Some(height) = (rest.len() / HASH_BYTES).checked_ilog2() {
        let (subtree, after) = rest.split_at(HASH_BYTES << height);
        hashes.push(perfect_root(subtree));
        rest = after;
    }
    hashes
}

/// Tiles are not what they have to be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TileError {
    /// The tile has the wrong length.
    #[error("{tile} has {actual} bytes instead of {}: it is damaged", tile.bytes())]
    Length {
        /// The tile.
        tile: TileId,
        /// Its length in bytes.
        actual: usize,
    },
    /// The tile is not a partial tile of a tree of this size.
    #[error("{tile} is not a partial tile of a tree of {size} entries: pass those of `edge_tiles`")]
    NotAtEdge {
        /// The tile.
        tile: TileId,
        /// The number of entries.
        size: u64,
    },
    /// A partial tile was not passed.
    #[error("{tile} is missing, which a tree of {size} entries has: pass all of `edge_tiles`")]
    Missing {
        /// The tile.
        tile: TileId,
        /// The number of entries.
        size: u64,
    },
    /// The tree is too large.
    #[error(transparent)]
    Frontier(#[from] FrontierError),
}
