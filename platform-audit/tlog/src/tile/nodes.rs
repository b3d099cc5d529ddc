//! Which nodes of the tree a root or a proof consists of, and the tiles that contain them.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{TILE_WIDTH, TileId};
use crate::tree::RangeError;

/// A node of the tree whose subtree is perfect: it spans the entries from `index << height` to
/// `(index + 1) << height`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) height: u32,
    pub(super) index: u64,
}

impl Node {
    /// Returns the tile of a tree of `size` entries that contains the hashes below the node, and
    /// which of its hashes they are.
    pub(super) fn tile(self, size: u64) -> (TileId, Range<usize>) {
        let level = self.height / 8;
        let within = self.height % 8;
        let first = self.index << within;
        let index = first / u64::from(TILE_WIDTH);
        let offset = (first % u64::from(TILE_WIDTH)) as usize;
        // A height below 64 has a level below 8.
        let id = TileId::of_tree(level as u8, index, width(level, index, size));
        (id, offset..offset + (1 << within))
    }
}

/// Returns the width of a tile in a tree of `size` entries.
fn width(level: u32, index: u64, size: u64) -> u16 {
    let hashes = size >> (8 * level);
    match index < hashes / u64::from(TILE_WIDTH) {
        true => TILE_WIDTH,
        false => (hashes % u64::from(TILE_WIDTH)) as u16,
    }
}

/// Returns the perfect subtrees of a range of entries, the largest first. The range begins at a
/// multiple of the smallest power of two that is not below its length, as all ranges of RFC 6962
/// do.
pub(super) fn perfect_nodes(range: &Range<u64>) -> impl Iterator<Item = Node> {
    let length = range.end - range.start;
    let mut start = range.start;
    (0..u64::BITS)
        .rev()
        .filter(move |height| length >> height & 1 == 1)
        .map(move |height| {
            let node = Node {
                height,
                index: start >> height,
            };
            // Wraps to 0 after the last subtree of a range that ends at 2^64.
            start = start.wrapping_add(1 << height);
            node
        })
}

/// Returns the ranges of entries whose roots are the inclusion proof, the entry's sibling first
/// (RFC 6962, section 2.1.1).
pub(super) fn inclusion_ranges(index: u64, size: u64) -> Result<Vec<Range<u64>>, RangeError> {
    if index >= size {
        return Err(RangeError::Index { index, size });
    }
    let mut ranges = Vec::new();
    let mut subtree = 0..size;
    while let Some(middle) = split(&subtree) {
        ranges.push(descend(&mut subtree, middle, index < middle));
    }
    ranges.reverse();
    Ok(ranges)
}

/// Returns the ranges of entries whose roots are the consistency proof (RFC 6962, section 2.1.2);
/// none if the old tree is empty or the sizes are equal.
pub(super) fn consistency_ranges(old: u64, new: u64) -> Result<Vec<Range<u64>>, RangeError> {
    if old > new {
        return Err(RangeError::Sizes { old, new });
    }
    let mut ranges = Vec::new();
    if old == 0 {
        return Ok(ranges);
    }
    let mut subtree = 0..new;
    while subtree.end != old
        && let Some(middle) = split(&subtree)
    {
        ranges.push(descend(&mut subtree, middle, old <= middle));
    }
    // The verifier has the root of the whole old tree.
    if subtree.start != 0 {
        ranges.push(subtree);
    }
    ranges.reverse();
    Ok(ranges)
}

/// Returns where RFC 6962 splits a range: after the largest power of two below its length.
fn split(range: &Range<u64>) -> Option<u64> {
    let last = (range.end - range.start).checked_sub(1)?;
    Some(range.start + (1 << last.checked_ilog2()?))
}

/// Narrows the range to one of its parts, and returns the other one.
fn descend(range: &mut Range<u64>, middle: u64, left: bool) -> Range<u64> {
    let (left_part, right_part) = (range.start..middle, middle..range.end);
    match left {
        true => {
            *range = left_part;
            right_part
        }
        false => {
            *range = right_part;
            left_part
        }
    }
}

pub(super) fn tiles(ranges: &[Range<u64>], size: u64) -> Vec<TileId> {
    let nodes = ranges.iter().flat_map(perfect_nodes);
    let tiles: BTreeSet<TileId> = nodes.map(|node| node.tile(size).0).collect();
    tiles.into_iter().collect()
}

/// Returns the tiles that the inclusion proof of the entry at `index` in a tree of `size` entries
/// needs: at most two for each level.
///
/// # Errors
///
/// The index is not below the size.
pub fn inclusion_tiles(index: u64, size: u64) -> Result<Vec<TileId>, RangeError> {
    Ok(tiles(&inclusion_ranges(index, size)?, size))
}

/// Returns the tiles that the consistency proof between the trees of `old` and `new` entries needs,
/// all of which are tiles of the new tree: at most two for each level.
///
/// # Errors
///
/// The old size exceeds the new one.
pub fn consistency_tiles(old: u64, new: u64) -> Result<Vec<TileId>, RangeError> {
    Ok(tiles(&consistency_ranges(old, new)?, new))
}

/// Returns the tiles that the root and the frontier of a tree of `size` entries need: at most one
/// for each level.
#[must_use]
pub fn root_tiles(size: u64) -> Vec<TileId> {
    edge_tiles(size)
}

/// Returns the partial tiles of a tree of `size` entries, the lowest level first: what a
/// [`TileBuilder`](super::TileBuilder) continues from.
#[must_use]
pub fn edge_tiles(size: u64) -> Vec<TileId> {
    let levels = 0..u64::BITS / 8;
    levels
        .map(|level| {
            let index = size.checked_shr(8 * (level + 1)).unwrap_or(0);
            (level as u8, index, (size >> (8 * level) & 0xff) as u16)
        })
        .filter(|(_, _, width)| *width > 0)
        .map(|(level, index, width)| TileId::of_tree(level, index, width))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(tiles: Vec<TileId>) -> Vec<String> {
        tiles.into_iter().map(TileId::path).collect()
    }

    #[test]
    fn the_edge_is_that_of_the_specifications_examples() {
        assert_eq!(
            paths(edge_tiles(70_000)),
            ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
        );
        assert_eq!(paths(edge_tiles(256)), ["tile/1/000.p/1"]);
        assert_eq!(paths(edge_tiles(0)), [""; 0]);
        assert_eq!(edge_tiles(u64::MAX).len(), 8);
    }

    #[test]
    fn the_root_is_in_the_partial_tiles() {
        for size in (0..2000).chain([65_535, 65_536, 70_000, u64::MAX - 1, u64::MAX]) {
            let needed = tiles(std::slice::from_ref(&(0..size)), size);
            assert_eq!(needed, root_tiles(size), "{size}");
        }
    }

    #[test]
    fn proofs_need_the_tiles_that_contain_their_nodes() {
        assert_eq!(inclusion_tiles(0, 1), Ok(vec![]));
        assert_eq!(paths(inclusion_tiles(0, 2).unwrap()), ["tile/0/000.p/2"]);
        assert_eq!(
            paths(inclusion_tiles(1000, 70_000).unwrap()),
            [
                "tile/0/003",
                "tile/0/273.p/112",
                "tile/1/000",
                "tile/1/001.p/17"
            ]
        );
        assert_eq!(
            paths(consistency_tiles(256, 512).unwrap()),
            ["tile/1/000.p/2"]
        );
        assert!(inclusion_tiles(1, 1).is_err());
        assert!(consistency_tiles(2, 1).is_err());
    }

    #[test]
    fn the_largest_trees_do_not_overflow() {
        for size in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) + 1] {
            for index in [0, 1, size / 2, size - 1] {
                assert!(inclusion_tiles(index, size).is_ok());
                assert!(consistency_tiles(index, size).is_ok());
            }
            assert!(consistency_tiles(size, size).is_ok());
        }
    }
}
