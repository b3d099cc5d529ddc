//! The log's formats, compared with plain implementations and with the vectors of others, and fed
//! with altered and arbitrary input.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what goes wrong here fails the test"
)]

mod checkpoints;
mod naive;
mod notes;
mod proofs;
mod signers;
mod tiles;
mod tree;
mod vectors;
mod witness;

use std::collections::BTreeMap;

use platform_audit_tlog::tile::{TileBuilder, TileId};
use platform_audit_tlog::tree::{Hash, leaf_hash};

/// Returns the hashes of the first entries of a log: the decimal numbers.
fn leaves(size: u64) -> Vec<Hash> {
    (0..size)
        .map(|number| leaf_hash(number.to_string().as_bytes()))
        .collect()
}

/// Returns what a log of these entries publishes: full tiles, and the partial tiles of its last
/// size only.
fn published(leaves: &[Hash]) -> BTreeMap<TileId, Vec<u8>> {
    let mut builder = TileBuilder::new();
    let full = builder.extend(leaves.iter().copied());
    let partial = builder.partial_tiles();
    full.into_iter()
        .chain(partial)
        .map(|tile| (tile.id(), tile.into_bytes()))
        .collect()
}
