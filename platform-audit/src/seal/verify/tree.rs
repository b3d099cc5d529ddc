//! Entries against tiles and checkpoints.

use std::collections::{BTreeMap, HashMap};

use platform_audit_tlog::tile::{Tile, TileBuilder, TileId};
use platform_audit_tlog::tree::{Hash, leaf_hash};

use super::report::{Harm, HarmKind};

/// The number of entries of a full tile.
pub(super) const WIDTH: u64 = 256;

/// The length of a hash.
const HASH_BYTES: usize = 32;

/// Builds the tree anew from the entries, and compares it with the stored tiles.
#[derive(Debug)]
pub(super) struct TreeCheck {
    builder: TileBuilder,
    /// The sizes at which the root is wanted, in descending order.
    sizes: Vec<u64>,
    /// The root at each of these sizes that was reached.
    roots: BTreeMap<u64, Hash>,
    /// The stored hashes of the tiles that the next entries belong to, by index.
    expected: BTreeMap<u64, Expected>,
    differing: Vec<Differing>,
    /// Ranges of positions without an entry.
    gaps: Vec<(u64, u64)>,
    /// The full tiles of level 0, if a published log is compared, and those of higher levels.
    lower: Vec<Tile>,
    upper: Vec<Tile>,
    keeps_lower: bool,
    /// Since a gap whose hashes no tile contains, the roots are unknown.
    unknown_from: Option<u64>,
    lost: Vec<String>,
    tiles: u64,
}

/// A stored tile of level 0.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) hashes: Vec<u8>,
    /// Its path, or where it is.
    pub(super) name: String,
}

/// An entry that differs from its tile.
#[derive(Debug)]
struct Differing {
    position: u64,
    id: Option<[u8; 16]>,
    entry: Hash,
    tile: Hash,
    name: String,
}

impl TreeCheck {
    pub(super) fn new(mut sizes: Vec<u64>, keeps_lower: bool) -> Self {
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes.dedup();
        Self {
            builder: TileBuilder::new(),
            sizes,
            roots: BTreeMap::new(),
            expected: BTreeMap::new(),
            differing: Vec::new(),
            gaps: Vec::new(),
            lower: Vec::new(),
            upper: Vec::new(),
            keeps_lower,
            unknown_from: None,
            lost: Vec::new(),
            tiles: 0,
        }
    }

    /// The number of entries so far.
    pub(super) fn size(&self) -> u64 {
        self.builder.size()
    }

    /// Adds a stored tile of level 0, before its entries.
    pub(super) fn expect(&mut self, index: u64, tile: Expected) {
        self.expected.insert(index, tile);
    }

    /// Whether a tile of this index was added.
    pub(super) fn expects(&self, index: u64) -> bool {
        self.expected.contains_key(&index)
    }

    /// A tile that should be there is not.
    pub(super) fn lose(&mut self, name: String) {
        self.lost.push(name);
    }

    /// Adds the entry at `position`, which is at least [`size`](Self::size). `id` is that of its
    /// record.
    pub(super) fn entry(&mut self, position: u64, id: Option<[u8; 16]>, entry: &[u8]) {
        if position > self.size() {
            self.gap(position);
        }
        let leaf = leaf_hash(entry);
        if let Some((expected, name)) = self.expected_at(position)
            && expected != leaf
        {
            let name = name.to_owned();
            self.differing.push(Differing {
                position,
                id,
                entry: leaf,
                tile: expected,
                name,
            });
        }
        self.push(leaf);
    }

    /// The positions up to `end` have no entries. The tiles take their place, if there are any.
    pub(super) fn gap(&mut self, end: u64) {
        self.gaps.push((self.size(), end));
        while self.size() < end {
            let position = self.size();
            let expected = self.expected_at(position).map(|it| it.0);
            if expected.is_none() {
                self.unknown_from.get_or_insert(position);
            }
            self.push(expected.unwrap_or(Hash::new([0; HASH_BYTES])));
        }
    }

    fn expected_at(&self, position: u64) -> Option<(Hash, &str)> {
        let tile = self.expected.get(&(position / WIDTH))?;
        let start = usize::try_from(position % WIDTH).ok()? * HASH_BYTES;
        let hash = tile.hashes.get(start..start + HASH_BYTES)?;
        Some((Hash::new(hash.try_into().ok()?), &tile.name))
    }

    fn push(&mut self, leaf: Hash) {
        for tile in self.builder.push(leaf) {
            if tile.id().level() == 0 {
                self.tiles += u64::from(self.expected.remove(&tile.id().index()).is_some());
                if self.keeps_lower {
                    self.lower.push(tile);
                }
            } else {
                self.upper.push(tile);
            }
        }
        if self.sizes.last() == Some(&self.size()) {
            self.sizes.pop();
            if self.unknown_from.is_none() {
                self.roots.insert(self.size(), self.builder.root());
            }
        }
    }

    /// The root at `size`, if it was reached and is known.
    pub(super) fn root(&self, size: u64) -> Option<Hash> {
        self.roots.get(&size).copied()
    }

    /// The full tiles of the levels above 0, unless entries contradict the tiles below.
    pub(super) fn upper(&self) -> &[Tile] {
        match self.is_intact() {
            true => &self.upper,
            false => &[],
        }
    }

    /// The full tiles of level 0, if they are kept.
    pub(super) fn lower(&self) -> &[Tile] {
        &self.lower
    }

    /// Whether the entries are complete and equal to the tiles.
    pub(super) fn is_intact(&self) -> bool {
        self.differing.is_empty() && self.gaps.is_empty()
    }

    /// The number of stored tiles of level 0 that were compared.
    pub(super) fn tiles(&self) -> u64 {
        self.tiles
    }

    /// The first position at which the entries contradict the tiles, from which on a root says
    /// nothing more.
    pub(super) fn first_harm(&self) -> Option<u64> {
        let differing = self.differing.first().map(|it| it.position);
        let gap = self.gaps.first().map(|it| it.0);
        differing.into_iter().chain(gap).min()
    }

    /// What contradicts the tiles. `agrees` says whether the root that a checkpoint of at least
    /// this size contains is that of the entries.
    pub(super) fn findings(&self, agrees: impl Fn(u64) -> Option<bool>) -> Vec<Harm> {
        let mut found: Vec<Harm> = self
            .gaps
            .iter()
            .map(|&(start, end)| Harm::new(HarmKind::PositionGap).at(start).to(end))
            .collect();
        let moved: HashMap<Hash, u64> = self
            .differing
            .iter()
            .map(|it| (it.tile, it.position))
            .collect();
        let mut tiles = Vec::new();
        for it in &self.differing {
            if agrees(it.position + 1) == Some(true) {
                if tiles.last() != Some(&it.name) {
                    tiles.push(it.name.clone());
                }
                continue;
            }
            let kind = match moved.get(&it.entry) {
                Some(_) => HarmKind::Reordered,
                None => HarmKind::SealDiffersFromTile,
            };
            let harm = Harm::new(kind).at(it.position);
            found.push(match &it.id {
                Some(id) => harm.of(id),
                None => harm,
            });
        }
        tiles.extend(self.lost.iter().cloned());
        let tile = |name| Harm::new(HarmKind::TileMismatch).what(name);
        found.extend(tiles.into_iter().map(tile));
        found
    }
}

/// The name of a tile in the database.
pub(super) fn stored_name(id: TileId) -> String {
    format!("{id} in the database")
}
