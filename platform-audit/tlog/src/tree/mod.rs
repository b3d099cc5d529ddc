//! The Merkle tree of RFC 6962, section 2.1, with SHA-256.
//!
//! [`Frontier`] computes the root of a log that only grows. [`verify_inclusion`] and
//! [`verify_consistency`] check proofs; [`tile`](crate::tile) makes them.
//!
//! ```
//! use platform_audit_tlog::tree::{Frontier, leaf_hash, node_hash, verify_inclusion};
//!
//! let (a, b) = (leaf_hash(b"a"), leaf_hash(b"b"));
//! let mut frontier = Frontier::new();
//! frontier.push(a);
//! frontier.push(b);
//! assert_eq!(frontier.root(), node_hash(&a, &b));
//!
//! // The proof of the entry at index 0 in a tree of two is the hash of the other one.
//! verify_inclusion(&a, 0, 2, &[b], &frontier.root())?;
//! # Ok::<(), platform_audit_tlog::tree::VerifyError>(())
//! ```

mod frontier;
mod hash;
mod verify;

pub use frontier::{Frontier, FrontierError, MAX_FRONTIER_SIZE};
pub use hash::{EMPTY_ROOT, Hash, ParseHashError, leaf_hash, node_hash};
pub(crate) use hash::{HASH_BYTES, perfect_root};
pub use verify::{RangeError, VerifyError, verify_consistency, verify_inclusion};
