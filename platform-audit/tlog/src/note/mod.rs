//! Signed notes: a text, and the signatures of one or more keys (C2SP signed-note).
//!
//! A verifier configures the [`VerifierKey`]s that it trusts, parses a [`SignedNote`] and calls
//! [`SignedNote::verify`]. A signer has a [`SigningKey`], or implements [`Signer`] with a key that
//! a key management service keeps. The signature types are [Ed25519](Algorithm::Ed25519) and
//! [cosignature/v1](Algorithm::CosignatureV1).
//!
//! ```
//! use platform_audit_tlog::note::{Algorithm, SignedNote, SigningKey, VerifierKey};
//!
//! let key = SigningKey::generate("example.com/notes", Algorithm::Ed25519)?;
//! let note = SignedNote::sign("It is evening.\n", &[&key])?.to_string();
//!
//! // The verifier has the note and the public key, both as text.
//! let trusted: VerifierKey = key.verifier_key().to_string().parse()?;
//! let note = SignedNote::parse(&note)?;
//! assert_eq!(note.verify(&[trusted])?.text(), "It is evening.\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod signature;
mod signed;
mod signing_key;
mod timestamped;
mod verifier_key;

pub use signature::Signature;
pub(crate) use signature::parse_lines;
pub use signed::{
    MAX_NOTE_BYTES, MAX_SIGNATURES, NoteError, SignError, SignedNote, Verified, VerifiedSignature,
};
pub(crate) use signed::{control_character, verified_by};
pub(crate) use signing_key::sign_with;
pub use signing_key::{PrivateKeyText, Signer, SignerError, SigningKey};
pub(crate) use timestamped::{MAX_TIMESTAMP, message};
pub use verifier_key::{Algorithm, KeyError, KeyId, VerifierKey};
