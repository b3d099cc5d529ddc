//! The sealed log: proves that no record was changed, removed or inserted later, even to somebody
//! who does not trust the owner of the database.
//!
//! The *sealer* appends the records that were committed to a Merkle tree (RFC 6962), in the
//! database itself, and signs the root of the tree: a *checkpoint*. An *anchor* is a checkpoint
//! from outside the database, against which anybody can verify that the log still begins with the
//! entries that it covers. Tiles, checkpoints and proofs have the formats of C2SP, so other
//! programs verify them, too. Tiles and checkpoints contain salted hashes, and no personal data.
//!
//! Configure a [`Seal`] with [`AuditBuilder::seal`], or run `platform-audit seal`. Any number of
//! instances may do so: one at a time seals. Verify with [`AuditBuilder::verify`], or
//! `platform-audit verify`.
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use platform_audit::seal::{Seal, Verdict, Verify, new_key};
//! use platform_audit::{Actor, Audit};
//!
//! # let folder = std::env::temp_dir().join(format!("platform-audit-seal-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("db")).create_if_missing(true);
//! # let pool = sqlx::SqlitePool::connect_with(options).await?;
//! let key = new_key("accounting.example.com/audit")?;
//! let verifier_key = key.verifier_key().to_string();
//! let seal = Seal::new(key)?.publish_to(folder.join("published"));
//!
//! let builder = || Audit::builder(pool.clone(), "accounting").development(true);
//! let audit = builder().start().await?;
//! audit
//!     .transaction(Actor::user("ada"), "entry.create", async |tx| {
//!         tx.record("entry", "7");
//!         Ok::<_, sqlx::Error>(())
//!     })
//!     .await?;
//! builder().seal_now(&seal).await?;
//!
//! // An auditor has the verifier key, and the published checkpoint.
//! let verify = Verify::default().key(&verifier_key)?.tiles(folder.join("published"));
//! assert_eq!(builder().verify(&verify).await?.verdict(), Verdict::Proven);
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "sqlite"))]
//! # fn main() {}
//! ```
//!
//! # Where to look
//!
//! - [`Seal`]: the key, and where checkpoints are published.
//! - [`Verify`] and [`Verification`]: what is compared, and what was found.
//! - [`RecordProof`]: the proof of a single record.

#[cfg(feature = "object-store")]
mod bucket;
mod builder;
mod canonical;
mod checkpoint;
mod directory;
mod error;
mod json;
mod log;
mod options;
mod proof;
mod publish;
mod resource;
mod router;
mod run;
mod sealer;
mod sinks;
mod snapshot;
mod status;
mod verify;
#[cfg(feature = "witness")]
mod witness;

pub use error::SealError;
pub use options::{CheckpointSink, Seal, new_key};
pub use platform_audit_tlog::note::{Signer, SignerError, SigningKey, VerifierKey};
pub use proof::RecordProof;
pub(crate) use router::router;
pub use run::Sealed;
pub(crate) use run::{Worker, run};
pub(crate) use status::SealStatus;
pub use verify::{Checked, Harm, HarmKind, Verdict, Verification, Verify};
#[cfg(feature = "witness")]
pub use witness::Witness;

#[cfg(doc)]
use crate::AuditBuilder;
