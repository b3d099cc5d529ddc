//! Checkpoints that this log published, or that somebody has of it.

use platform_audit_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use platform_audit_tlog::note::SignedNote;
use platform_audit_tlog::tree::Hash;

use super::error::SealError;
use super::options::Seal;

/// Signs the tree of `size` entries.
pub(crate) fn sign(seal: &Seal, size: u64, root: Hash) -> Result<SignedCheckpoint, SealError> {
    let checkpoint = Checkpoint::new(seal.origin(), size, root)
        .map_err(|error| SealError::Sign(error.to_string()))?;
    SignedCheckpoint::sign(checkpoint, &&*seal.signer)
        .map_err(|error| SealError::Sign(error.to_string()))
}

/// A checkpoint with its signatures, as published.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) note: String,
    pub(crate) checkpoint: Checkpoint,
}

impl Published {
    pub(crate) fn new(signed: &SignedCheckpoint) -> Self {
        Self {
            note: signed.to_string(),
            checkpoint: signed.checkpoint().clone(),
        }
    }

    /// Reads a checkpoint whose signatures are not verified.
    pub(crate) fn parse(note: &[u8]) -> Option<Self> {
        let parsed = SignedNote::parse(note).ok()?;
        Some(Self {
            note: String::from_utf8_lossy(note).into_owned(),
            checkpoint: parsed.unverified_text().parse().ok()?,
        })
    }

    /// Fails if `other`, a checkpoint of the same size at `place`, has another root.
    pub(crate) fn refuse_fork(&self, other: &[u8], place: &str) -> Result<(), SealError> {
        let other = Self::parse(other).map(|it| it.checkpoint);
        if other.is_some_and(|it| {
            it.size() == self.checkpoint.size() && it.root() == self.checkpoint.root()
        }) {
            return Ok(());
        }
        Err(SealError::Fork {
            place: place.to_owned(),
            size: self.checkpoint.size(),
        })
    }
}
