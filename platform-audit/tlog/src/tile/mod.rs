//! A log as static files: C2SP tlog-tiles.
//!
//! A tile contains up to 256 hashes of one level of the tree, an entry bundle up to 256 entries.
//! [`TileBuilder`] makes tiles as the log grows. [`inclusion_proof`], [`consistency_proof`],
//! [`root_at`] and [`frontier_at`] read them from a [`TileReader`]. A caller that reads
//! asynchronously asks [`inclusion_tiles`], [`consistency_tiles`] or [`root_tiles`] which tiles it
//! needs, loads them into a map, and passes the map as the reader.
//!
//! ```
//! use std::collections::BTreeMap;
//! use platform_audit_tlog::tile::{TileBuilder, TileId, inclusion_proof, inclusion_tiles};
//! use platform_audit_tlog::tree::{leaf_hash, verify_inclusion};
//!
//! // Publish a log of 70,000 entries.
//! let mut builder = TileBuilder::new();
//! let mut published: BTreeMap<TileId, Vec<u8>> = BTreeMap::new();
//! for number in 0..70_000_u32 {
//!     for tile in builder.push(leaf_hash(&number.to_be_bytes())) {
//!         published.insert(tile.id(), tile.into_bytes());
//!     }
//! }
//! for tile in builder.partial_tiles() {
//!     published.insert(tile.id(), tile.into_bytes());
//! }
//! assert!(published.keys().any(|id| id.path() == "tile/0/273.p/112"));
//!
//! // Load what the proof for one entry needs, and prove it.
//! let needed = inclusion_tiles(66_000, 70_000)?;
//! let loaded: BTreeMap<_, _> = needed.into_iter().map(|id| (id, published[&id].clone())).collect();
//! let proof = inclusion_proof(66_000, 70_000, &loaded)?;
//! let leaf = leaf_hash(&66_000_u32.to_be_bytes());
//! verify_inclusion(&leaf, 66_000, 70_000, &proof, &builder.root())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod bundle;
mod directory;
mod id;
mod nodes;
mod prove;
mod reader;

pub use builder::{Tile, TileBuilder, TileError};
pub use bundle::{BundleError, MAX_BUNDLE_BYTES, MAX_ENTRY_BYTES, decode_bundle, encode_bundle};
pub use directory::{DirectoryError, DirectoryTiles};
pub use id::{BundleId, MAX_TILE_LEVEL, ParsePathError, TILE_WIDTH, TileId, TileIdError};
pub use nodes::{consistency_tiles, edge_tiles, inclusion_tiles, root_tiles};
pub use prove::{ReadError, consistency_proof, frontier_at, inclusion_proof, root_at};
pub use reader::{MissingTile, TileReader};
