//! Entries against tiles and checkpoints.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use platform_audit_tlog::tile::{Tile, TileBuilder, TileId};
use platform_audit_tlog::tree::{Hash, leaf_hash};

use super::report::{Harm, HarmKind};

/// The number of entries of a full tile.
pub(super) const WIDTH: u64 = 256;

/// The maximum number of entries that differ from their tiles and are kept, for their report.
const MAX_DIFFERING: usize = 10_000;

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
    /// The tree as the tiles say, since an entry contradicts them; and its roots.
    by_tiles: Option<TileBuilder>,
    roots_by_tiles: BTreeMap<u64, Hash>,
    /// The stored hashes of the tiles that the next entries belong to, by index.
    expected: BTreeMap<u64, Expected>,
    differing: Vec<Differing>,
    /// Further ones, which are not kept.
    more_differing: u64,
    /// Entries of positions that have another one.
    surplus: Vec<(u64, Option<[u8; 16]>)>,
    /// Ranges of positions without an entry.
    gaps: Vec<(u64, u64)>,
    /// The size of the published log, if one is compared: then the full tiles of level 0 are kept
    /// until they are taken, and the partial ones at that size.
    published: Option<u64>,
    lower: Vec<Tile>,
    partial: Vec<Tile>,
    upper: Vec<Tile>,
    /// Since a gap whose hashes no tile contains, the roots are unknown.
    unknown_from: Option<u64>,
    lost: Vec<String>,
    is_hashed_again: bool,
    tiles: u64,
}

/// A stored tile of level 0.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) hashes: Vec<u8>,
    /// Its path, or where it is.
    pub(super) name: String,
    /// Whether it was published, in place of one of the database.
    pub(super) is_published: bool,
}

/// An entry that differs from its tile.
#[derive(Debug)]
struct Differing {
    position: u64,
    id: Option<[u8; 16]>,
    entry: Hash,
    tile: Hash,
    name: String,
    is_published: bool,
}

impl TreeCheck {
    pub(super) fn new(mut sizes: Vec<u64>, published: Option<u64>) -> Self {
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes.dedup();
        Self {
            builder: TileBuilder::new(),
            sizes,
            roots: BTreeMap::new(),
            by_tiles: None,
            roots_by_tiles: BTreeMap::new(),
            expected: BTreeMap::new(),
            differing: Vec::new(),
            more_differing: 0,
            surplus: Vec::new(),
            gaps: Vec::new(),
            published,
            lower: Vec::new(),
            partial: Vec::new(),
            upper: Vec::new(),
            unknown_from: None,
            lost: Vec::new(),
            is_hashed_again: false,
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

    /// Adds the entry at `position`. `id` is that of its record.
    pub(super) fn entry(&mut self, position: u64, id: Option<[u8; 16]>, entry: &[u8]) {
        if position > self.size() {
            self.gap(position);
        }
        if position < self.size() {
            // A second row for the same position, which has no place in the tree.
            self.surplus.push((position, id));
            return;
        }
        let leaf = leaf_hash(entry);
        let mut by_tile = leaf;
        if let Some((expected, tile)) = self.expected_at(position)
            && expected != leaf
        {
            let (name, is_published) = (tile.name.clone(), tile.is_published);
            by_tile = expected;
            if self.by_tiles.is_none() {
                self.by_tiles = Some(self.builder.clone());
            }
            if self.differing.len() < MAX_DIFFERING {
                self.differing.push(Differing {
                    position,
                    id,
                    entry: leaf,
                    tile: expected,
                    name,
                    is_published,
                });
            } else {
                self.more_differing += 1;
            }
        }
        self.push(leaf, by_tile);
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
            let leaf = expected.unwrap_or(Hash::new([0; HASH_BYTES]));
            self.push(leaf, leaf);
        }
    }

    fn expected_at(&self, position: u64) -> Option<(Hash, &Expected)> {
        let tile = self.expected.get(&(position / WIDTH))?;
        let start = usize::try_from(position % WIDTH).ok()? * HASH_BYTES;
        let hash = tile.hashes.get(start..start + HASH_BYTES)?;
        Some((Hash::new(hash.try_into().ok()?), tile))
    }

    fn push(&mut self, leaf: Hash, by_tile: Hash) {
        for tile in self.builder.push(leaf) {
            if tile.id().level() == 0 {
                self.tiles += u64::from(self.expected.remove(&tile.id().index()).is_some());
                if self.published.is_some() {
                    self.lower.push(tile);
                }
            } else {
                self.upper.push(tile);
            }
        }
        if let Some(builder) = &mut self.by_tiles {
            // Its tiles are those that are stored.
            let _tiles = builder.push(by_tile);
        }
        if self.published == Some(self.size()) {
            self.partial = self.builder.partial_tiles();
        }
        if self.sizes.last() == Some(&self.size()) {
            self.sizes.pop();
            if self.unknown_from.is_none() {
                self.roots.insert(self.size(), self.builder.root());
                if let Some(builder) = &self.by_tiles {
                    self.roots_by_tiles.insert(self.size(), builder.root());
                }
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

    /// The root at `size` as the tiles say, if entries contradict them.
    pub(super) fn root_by_tiles(&self, size: u64) -> Option<Hash> {
        self.roots_by_tiles.get(&size).copied()
    }

    /// The database was hashed again, so it contradicts only published tiles, and as a whole: the
    /// checkpoints say so.
    pub(super) fn set_hashed_again(&mut self) {
        if self.differing.iter().any(|it| it.is_published) {
            self.roots_by_tiles.clear();
        }
        self.is_hashed_again = true;
    }

    /// Takes the full tiles of level 0, if they are kept.
    pub(super) fn take_lower(&mut self) -> Vec<Tile> {
        std::mem::take(&mut self.lower)
    }

    /// The partial tiles at the size of the published log.
    pub(super) fn partial(&self) -> &[Tile] {
        &self.partial
    }

    /// Whether the entries are complete and equal to the tiles.
    pub(super) fn is_intact(&self) -> bool {
        self.differing.is_empty() && self.gaps.is_empty() && self.surplus.is_empty()
    }

    /// The number of stored tiles of level 0 that were compared.
    pub(super) fn tiles(&self) -> u64 {
        self.tiles
    }

    /// Whether no tile says what the entry at this position was.
    pub(super) fn is_without_tile(&self, position: u64) -> bool {
        position >= self.size() - self.size() % WIDTH && self.expected_at(position).is_none()
    }

    /// What contradicts the tiles, and how many findings more there are. `agrees` says whether a
    /// checkpoint of at least this size contains the root of the entries.
    pub(super) fn findings(&self, agrees: impl Fn(u64) -> Option<bool>) -> (Vec<Harm>, u64) {
        let mut found: Vec<Harm> = self
            .gaps
            .iter()
            .map(|&(start, end)| Harm::new(HarmKind::PositionGap).at(start).to(end))
            .collect();
        found.extend(self.surplus.iter().map(|(position, id)| {
            let harm = Harm::new(HarmKind::SealDiffersFromTile).at(*position);
            match id {
                Some(id) => harm.of(id),
                None => harm,
            }
        }));
        let moved: HashMap<Hash, u64> = self
            .differing
            .iter()
            .map(|it| (it.tile, it.position))
            .collect();
        let mut tiles: BTreeSet<&str> = self.lost.iter().map(String::as_str).collect();
        for it in &self.differing {
            if agrees(it.position + 1) == Some(true) {
                tiles.insert(&it.name);
                continue;
            }
            if it.is_published && self.is_hashed_again {
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
        let tile = |name: &str| Harm::new(HarmKind::TileMismatch).what(name);
        found.extend(tiles.into_iter().map(tile));
        (found, self.more_differing)
    }
}

/// The name of a tile in the database.
pub(super) fn stored_name(id: TileId) -> String {
    format!("{id} in the database")
}
