//! Transparency logs, without storage or network: the Merkle tree of RFC 6962, and the formats of
//! [C2SP](https://c2sp.org), so that programs written by others verify the log.
//!
//! | module | what it implements |
//! |---|---|
//! | [`tree`] | hashes, the root of a growing log, verification of proofs (RFC 6962, section 2.1) |
//! | [`tile`] | the tree and its entries as static files, and proofs from them (tlog-tiles) |
//! | [`note`] | signed texts, and their keys (signed-note, with Ed25519) |
//! | [`checkpoint`] | the size and root of a log, signed by it (tlog-checkpoint) |
//! | [`cosignature`] | signatures of witnesses (tlog-cosignature, cosignature/v1) |
//! | [`proof`] | the proof of one entry as a file, verified offline (tlog-proof) |
//! | [`witness`] | the request for a cosignature (tlog-witness) |
//!
//! All input may be hostile: parsers have limits, accept only the canonical form, and return the
//! bytes that they parsed.
//!
//! A log appends entries, publishes tiles, then signs:
//!
//! ```
//! use std::collections::BTreeMap;
//! use platform_audit_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
//! use platform_audit_tlog::note::{Algorithm, SigningKey};
//! use platform_audit_tlog::proof::TlogProof;
//! use platform_audit_tlog::tile::{TileBuilder, inclusion_proof};
//! use platform_audit_tlog::tree::leaf_hash;
//!
//! let key = SigningKey::generate("example.com/log", Algorithm::Ed25519)?;
//! let mut builder = TileBuilder::new();
//! let full = builder.extend((0..1000).map(|it| leaf_hash(format!("entry {it}").as_bytes())));
//! let published: BTreeMap<_, _> = full
//!     .into_iter()
//!     .chain(builder.partial_tiles())
//!     .map(|tile| (tile.id(), tile.into_bytes()))
//!     .collect();
//! let checkpoint = Checkpoint::new("example.com/log", builder.size(), builder.root())?;
//! let checkpoint = SignedCheckpoint::sign(checkpoint, &key)?;
//!
//! // Anybody proves that an entry is in the log, and verifies that with the public key alone.
//! let hashes = inclusion_proof(7, 1000, &published)?;
//! let proof = TlogProof::new(7, hashes, checkpoint.note().clone())?;
//! proof.verify(&leaf_hash(b"entry 7"), &[key.verifier_key().clone()])?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod base64;
pub mod checkpoint;
pub mod cosignature;
mod decimal;
pub mod note;
pub mod proof;
pub mod tile;
pub mod tree;
pub mod witness;
