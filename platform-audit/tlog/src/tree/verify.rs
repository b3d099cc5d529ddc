use thiserror::Error;

use super::{EMPTY_ROOT, Hash, node_hash};

/// Checks that the entry with hash `leaf` is at `index` (from 0) of the tree with `size` entries
/// and root `root` (RFC 6962, section 2.1.1).
///
/// The proof consists of the siblings on the path from the entry to the root, the entry's own
/// sibling first: at most 64.
///
/// # Errors
///
/// The index is not below the size, the proof does not have exactly as many hashes as the path, or
/// it results in another root.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), VerifyError> {
    if index >= size {
        return Err(RangeError::Index { index, size }.into());
    }
    let path = Path::new(index, size);
    check_length(path.length(), proof.len())?;
    let (inner, border) = proof.split_at(path.inner as usize);
    let below = join_inner(*leaf, inner, index);
    match join_border(below, border) == *root {
        true => Ok(()),
        false => Err(VerifyError::Root),
    }
}

/// Checks that the tree with `new` entries begins with the entries of the tree with `old` entries
/// (RFC 6962, section 2.1.2).
///
/// The proof has at most 65 hashes. It is empty if the sizes are equal; then the roots must be too.
/// It is also empty if the old tree is: the empty tree is consistent with every tree, so `new_root`
/// is **not checked** then (C2SP tlog-witness, add-checkpoint).
///
/// # Errors
///
/// The old size exceeds the new one, the proof does not have the exact number of hashes, or it
/// results in another root.
pub fn verify_consistency(
    old: u64,
    new: u64,
    proof: &[Hash],
    old_root: &Hash,
    new_root: &Hash,
) -> Result<(), VerifyError> {
    if old > new {
        return Err(RangeError::Sizes { old, new }.into());
    }
    if old == 0 && *old_root != EMPTY_ROOT {
        return Err(VerifyError::OldRoot);
    }
    if old == new || old == 0 {
        check_length(0, proof.len())?;
        return match old == new && old_root != new_root {
            true => Err(VerifyError::Root),
            false => Ok(()),
        };
    }

    // The old tree's last entry is in its rightmost perfect subtree, of this height. The proof
    // begins with that subtree, unless it is the whole old tree, whose root the verifier has.
    let height = old.trailing_zeros();
    let path = Path::new(old - 1, new);
    let inner = path.inner.saturating_sub(height) as usize;
    let border = path.border as usize;
    let whole = old.is_power_of_two();
    check_length(usize::from(!whole) + inner + border, proof.len())?;
    let (subtree, siblings) = match proof.split_first() {
        Some((first, rest)) if !whole => (first, rest),
        _ => (old_root, proof),
    };
    let (inner, border) = siblings.split_at(inner);
    let index = (old - 1) >> height;

    let old_below = join_left_inner(*subtree, inner, index);
    if join_border(old_below, border) != *old_root {
        return Err(VerifyError::OldRoot);
    }
    let new_below = join_inner(*subtree, inner, index);
    match join_border(new_below, border) == *new_root {
        true => Ok(()),
        false => Err(VerifyError::Root),
    }
}

/// The path from an entry to the root has two parts.
struct Path {
    /// The number of levels below the point where the paths of this and of the last entry meet.
    /// Each of them has a sibling.
    inner: u32,
    /// The number of siblings above it. They are all left of the path, as it runs along the right
    /// border of the tree.
    border: u32,
}

impl Path {
    /// `index` is below `size`.
    fn new(index: u64, size: u64) -> Self {
        let inner = u64::BITS - (index ^ (size - 1)).leading_zeros();
        let border = index.checked_shr(inner).unwrap_or(0).count_ones();
        Self { inner, border }
    }

    fn length(&self) -> usize {
        (self.inner + self.border) as usize
    }
}

fn check_length(expected: usize, actual: usize) -> Result<(), VerifyError> {
    match expected == actual {
        true => Ok(()),
        false => Err(VerifyError::Length { expected, actual }),
    }
}

/// Joins a node with its siblings, of which the bits of its index say whether they are left of it.
fn join_inner(node: Hash, siblings: &[Hash], index: u64) -> Hash {
    siblings
        .iter()
        .enumerate()
        .fold(node, |node, (level, sibling)| match index >> level & 1 {
            0 => node_hash(&node, sibling),
            _ => node_hash(sibling, &node),
        })
}

/// As [`join_inner`], without the siblings on the right, which the old tree does not have.
fn join_left_inner(node: Hash, siblings: &[Hash], index: u64) -> Hash {
    siblings
        .iter()
        .enumerate()
        .fold(node, |node, (level, sibling)| match index >> level & 1 {
            0 => node,
            _ => node_hash(sibling, &node),
        })
}

fn join_border(node: Hash, siblings: &[Hash]) -> Hash {
    siblings
        .iter()
        .fold(node, |node, sibling| node_hash(sibling, &node))
}

/// An index or a size is out of range.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RangeError {
    /// An index is not below the size of the tree.
    #[error("index {index} is outside a tree of {size} entries: prove it against a later tree")]
    Index {
        /// The index, from 0.
        index: u64,
        /// The number of entries.
        size: u64,
    },
    /// The old tree is larger than the new one.
    #[error(
        "the old tree has {old} entries, more than the {new} of the new one: either they are swapped, or the log was truncated"
    )]
    Sizes {
        /// The number of entries of the old tree.
        old: u64,
        /// The number of entries of the new tree.
        new: u64,
    },
}

/// A proof does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// An index or a size is out of range.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// The proof is too short or too long.
    #[error(
        "the proof has {actual} hashes instead of {expected}: it is not for this index or size"
    )]
    Length {
        /// The number of hashes that the index and the sizes require.
        expected: usize,
        /// The number of hashes in the proof.
        actual: usize,
    },
    /// The proof does not result in the root of the old tree.
    #[error(
        "the proof contradicts the root of the old tree: treat the log as rewritten until you know better"
    )]
    OldRoot,
    /// The proof does not result in the root of the tree.
    #[error(
        "the proof contradicts the root of the tree: the entry, the proof or the tree was altered"
    )]
    Root,
}
