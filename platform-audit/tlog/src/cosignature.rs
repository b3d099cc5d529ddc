//! Cosignatures: the statement of a witness that it saw a checkpoint, and no inconsistent one
//! before (C2SP tlog-cosignature, with Ed25519: `cosignature/v1`).
//!
//! [`SignedCheckpoint::open`] and [`SignedCheckpoint::add_cosignatures`] verify them.
//!
//! ```
//! use platform_audit_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
//! use platform_audit_tlog::cosignature;
//! use platform_audit_tlog::note::{Algorithm, SigningKey};
//! use platform_audit_tlog::tree::EMPTY_ROOT;
//!
//! let log = SigningKey::generate("example.com/log", Algorithm::Ed25519)?;
//! let witness = SigningKey::generate("witness.example.com/w1", Algorithm::CosignatureV1)?;
//! let checkpoint = Checkpoint::new("example.com/log", 0, EMPTY_ROOT)?;
//! let mut checkpoint = SignedCheckpoint::sign(checkpoint, &log)?;
//!
//! // The witness verified the checkpoint's signature and its consistency.
//! let line = cosignature::cosign(&checkpoint, &witness, 1_679_315_147)?;
//!
//! // The log publishes the cosignature with the checkpoint.
//! checkpoint.add_cosignatures(&format!("{line}\n"), &[witness.verifier_key().clone()])?;
//! let keys = [log.verifier_key().clone(), witness.verifier_key().clone()];
//! let opened = SignedCheckpoint::open(checkpoint.to_string(), &keys)?;
//! assert_eq!(opened.cosignatures()[0].timestamp, 1_679_315_147);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use crate::checkpoint::Cosignature;
use crate::checkpoint::SignedCheckpoint;
use crate::note::{self, Algorithm, SignError, Signature, Signer};

/// Returns the signature line of a witness that verified the checkpoint's consistency with all
/// checkpoints of the log that it cosigned before. `timestamp` is the current time in seconds since
/// 1970, between 1 and 2^63 − 1.
///
/// # Errors
///
/// The key is not of type [cosignature/v1](Algorithm::CosignatureV1), the time is out of range, or
/// the signer fails.
pub fn cosign<S: Signer>(
    checkpoint: &SignedCheckpoint,
    signer: &S,
    timestamp: u64,
) -> Result<Signature, SignError> {
    if timestamp == 0 || timestamp > note::MAX_TIMESTAMP {
        return Err(SignError::Timestamp(timestamp));
    }
    let message = message(checkpoint, timestamp);
    let signature = note::sign_with(signer, Algorithm::CosignatureV1, message.as_bytes())?;
    Ok(Signature::from_cosignature(
        signer.key(),
        timestamp,
        &signature,
    )?)
}

/// Returns the message that a witness signs at `timestamp`, in seconds since 1970 (C2SP
/// tlog-cosignature, “Ed25519 signed message”), for a caller that signs by other means than a
/// [`Signer`], and passes the result to [`Signature::from_cosignature`].
#[must_use]
pub fn message(checkpoint: &SignedCheckpoint, timestamp: u64) -> String {
    note::message(checkpoint.note().unverified_text(), timestamp)
}
