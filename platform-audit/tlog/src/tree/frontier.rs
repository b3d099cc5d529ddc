use thiserror::Error;

use super::{EMPTY_ROOT, Hash, node_hash};

/// The largest size of a [`Frontier`]: 2^63 − 1, which fits a signed 64-bit column.
pub const MAX_FRONTIER_SIZE: u64 = i64::MAX as u64;

/// The right edge of a growing tree: its size, and the roots of the perfect subtrees that the tree
/// consists of, from left to right (RFC 6962, section 2.1).
///
/// This is all that is needed to append entries and to compute the root: at most 63 hashes.
/// Appending costs one [`node_hash`] on average, a root one for each hash.
///
/// ```
/// use platform_audit_tlog::tree::{Frontier, leaf_hash};
///
/// let mut frontier: Frontier = ["a", "b", "c"].iter().map(|it| leaf_hash(it.as_bytes())).collect();
/// let root = frontier.root();
///
/// // Store the parts, and continue from them later.
/// let mut restored = Frontier::from_parts(frontier.size(), frontier.hashes().to_vec())?;
/// assert_eq!(restored.root(), root);
/// restored.push(leaf_hash(b"d"));
/// frontier.push(leaf_hash(b"d"));
/// assert_eq!(restored, frontier);
/// # Ok::<(), platform_audit_tlog::tree::FrontierError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    hashes: Vec<Hash>,
}

impl Frontier {
    /// Returns the frontier of the empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            size: 0,
            hashes: Vec::new(),
        }
    }

    /// Returns the frontier of a tree with `size` entries, from the hashes that
    /// [`hashes`](Self::hashes) returned.
    ///
    /// The hashes themselves are not checked: compare [`root`](Self::root) with a root that you
    /// trust.
    ///
    /// # Errors
    ///
    /// The size exceeds [`MAX_FRONTIER_SIZE`], or the number of hashes is not the number of one
    /// bits in it.
    pub fn from_parts(size: u64, hashes: Vec<Hash>) -> Result<Self, FrontierError> {
        if size > MAX_FRONTIER_SIZE {
            return Err(FrontierError::TooLarge(size));
        }
        let expected = size.count_ones() as usize;
        if hashes.len() != expected {
            return Err(FrontierError::HashCount {
                size,
                expected,
                actual: hashes.len(),
            });
        }
        Ok(Self { size, hashes })
    }

    /// Appends an entry by its [`leaf_hash`](super::leaf_hash).
    pub fn push(&mut self, leaf: Hash) {
        self.push_with(leaf, |_, _| ());
    }

    /// Appends an entry, and passes the height and the root of each perfect subtree that it
    /// completes, from the entry itself (height 0) upwards.
    pub(crate) fn push_with(&mut self, leaf: Hash, mut completed: impl FnMut(u32, &Hash)) {
        let mut node = leaf;
        let mut height = 0;
        completed(height, &node);
        // Each trailing one bit of the size is a subtree that merges with the new one.
        while self.size >> height & 1 == 1
            && let Some(left) = self.hashes.pop()
        {
            node = node_hash(&left, &node);
            height += 1;
            completed(height, &node);
        }
        self.hashes.push(node);
        // At most 2^63 − 1 before, and no caller lives to push as many again.
        self.size += 1;
    }

    /// Returns the number of entries.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns the roots of the perfect subtrees, the largest and oldest first: one for each one
    /// bit of the size.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Returns the root of the tree; [`EMPTY_ROOT`] if it has no entries.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.hashes
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or(EMPTY_ROOT)
    }
}

impl Extend<Hash> for Frontier {
    fn extend<I: IntoIterator<Item = Hash>>(&mut self, leaves: I) {
        for leaf in leaves {
            self.push(leaf);
        }
    }
}

impl FromIterator<Hash> for Frontier {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut frontier = Self::new();
        frontier.extend(leaves);
        frontier
    }
}

/// The parts are not those of a [`Frontier`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrontierError {
    /// The size is above [`MAX_FRONTIER_SIZE`].
    #[error("a tree of {0} entries is too large: at most 2^63 - 1 are supported")]
    TooLarge(u64),
    /// The number of hashes does not belong to the size.
    #[error(
        "the frontier of a tree of {size} entries has {expected} hashes, not {actual}: restore it from the tiles"
    )]
    HashCount {
        /// The number of entries.
        size: u64,
        /// The number of one bits in the size.
        expected: usize,
        /// The number of hashes that were passed.
        actual: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let hash = EMPTY_ROOT;
        assert!(Frontier::from_parts(0, vec![]).is_ok());
        assert!(Frontier::from_parts(3, vec![hash; 2]).is_ok());
        assert!(Frontier::from_parts(MAX_FRONTIER_SIZE, vec![hash; 63]).is_ok());
        for (size, count) in [(0, 1), (3, 1), (3, 3), (4, 2), (u64::MAX, 64), (1 << 63, 1)] {
            assert!(
                Frontier::from_parts(size, vec![hash; count]).is_err(),
                "{size} {count}"
            );
        }
    }

    #[test]
    fn the_largest_frontier_accepts_another_entry() {
        let mut frontier = Frontier::from_parts(MAX_FRONTIER_SIZE, vec![EMPTY_ROOT; 63]).unwrap();
        frontier.push(EMPTY_ROOT);
        assert_eq!((frontier.size(), frontier.hashes().len()), (1 << 63, 1));
    }
}
