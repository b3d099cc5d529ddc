//! Transparency logs, without storage or network: the Merkle tree of RFC 6962, and the formats of
//! [C2SP](https://c2sp.org), so that programs written by others verify the log.
//!
//! | module | what it implements |
//! |---|---|
//! | [`tree`] | hashes, the root of a growing log, verification of proofs (RFC 6962, section 2.1) |
//! | [`tile`] | the tree and its entries as static files, and proofs from them (tlog-tiles) |

mod base64;
mod decimal;
pub mod tile;
pub mod tree;
