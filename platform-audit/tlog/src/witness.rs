//! The request with which a log asks a witness for a cosignature (C2SP tlog-witness,
//! “add-checkpoint”), without HTTP.
//!
//! ```
//! use platform_audit_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
//! use platform_audit_tlog::cosignature;
//! use platform_audit_tlog::note::{Algorithm, SigningKey};
//! use platform_audit_tlog::tree::{Frontier, leaf_hash};
//! use platform_audit_tlog::witness::AddCheckpoint;
//!
//! // The log submits its first checkpoint: the body of a POST to `<prefix>/add-checkpoint`.
//! let log = SigningKey::generate("example.com/log", Algorithm::Ed25519)?;
//! let tree: Frontier = [leaf_hash(b"entry")].into_iter().collect();
//! let checkpoint = Checkpoint::new("example.com/log", tree.size(), tree.root())?;
//! let mut checkpoint = SignedCheckpoint::sign(checkpoint, &log)?;
//! let request = AddCheckpoint::new(0, vec![], checkpoint.note().clone())?.to_string();
//!
//! // The witness, which has seen no checkpoint of this log, verifies and cosigns it.
//! let witness = SigningKey::generate("witness.example.com/w1", Algorithm::CosignatureV1)?;
//! let accepted = AddCheckpoint::parse(&request)?.verify(&[log.verifier_key().clone()], None)?;
//! let response = format!("{}\n", cosignature::cosign(&accepted, &witness, 1_679_315_147)?);
//!
//! // The log adds what the witness responded.
//! checkpoint.add_cosignatures(&response, &[witness.verifier_key().clone()])?;
//! assert_eq!(checkpoint.cosignatures().len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::str::{self, FromStr};

use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, ParseCheckpointError, SignedCheckpoint};
use crate::decimal;
use crate::note::{Algorithm, NoteError, SignedNote, VerifierKey};
use crate::tree::{EMPTY_ROOT, Hash, VerifyError, verify_consistency};

/// The largest number of hashes in a request.
pub const MAX_HASHES: usize = 63;

/// A checkpoint, and the proof that it is consistent with an older one.
///
/// [`Display`](fmt::Display) returns the body of the request, exactly as it was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    old_size: u64,
    proof: Vec<Hash>,
    checkpoint: SignedNote,
}

impl AddCheckpoint {
    /// Returns the request for this checkpoint, with the size of the checkpoint that the witness
    /// cosigned last, or 0, and the
    /// [consistency proof](crate::tile::consistency_proof) between the two.
    ///
    /// # Errors
    ///
    /// There are more than [`MAX_HASHES`] hashes.
    pub fn new(
        old_size: u64,
        proof: Vec<Hash>,
        checkpoint: SignedNote,
    ) -> Result<Self, ParseRequestError> {
        match proof.len() > MAX_HASHES {
            true => Err(ParseRequestError::TooManyHashes),
            false => Ok(Self {
                old_size,
                proof,
                checkpoint,
            }),
        }
    }

    /// Parses the body of a request.
    ///
    /// # Errors
    ///
    /// The bytes do not have the format, or exceed a limit; a witness responds 400 Bad Request.
    pub fn parse(body: impl AsRef<[u8]>) -> Result<Self, ParseRequestError> {
        let body = str::from_utf8(body.as_ref()).map_err(|_| ParseRequestError::Line(1))?;
        let (old, mut rest) = body.split_once('\n').ok_or(ParseRequestError::Line(1))?;
        let old_size = old.strip_prefix("old ").and_then(decimal::parse);
        let old_size = old_size.ok_or(ParseRequestError::Line(1))?;
        let mut proof = Vec::new();
        loop {
            let number = 2 + proof.len();
            let (line, after) = rest
                .split_once('\n')
                .ok_or(ParseRequestError::Line(number))?;
            rest = after;
            if line.is_empty() {
                break;
            }
            if proof.len() == MAX_HASHES {
                return Err(ParseRequestError::TooManyHashes);
            }
            proof.push(line.parse().map_err(|_| ParseRequestError::Line(number))?);
        }
        Self::new(old_size, proof, SignedNote::parse(rest)?)
    }

    /// Checks the request as a witness: `logs` are the keys of the logs that it knows, `latest` the
    /// checkpoint of this [origin](Self::origin) that it cosigned last.
    ///
    /// The witness has to store the result as the latest checkpoint before it responds, atomically
    /// with this check.
    ///
    /// # Errors
    ///
    /// Each error names the status that the specification demands: see
    /// [`AddCheckpointError::status`].
    pub fn verify(
        &self,
        logs: &[VerifierKey],
        latest: Option<&Checkpoint>,
    ) -> Result<SignedCheckpoint, AddCheckpointError> {
        let origin = self.origin()?;
        let is_log =
            |key: &&VerifierKey| key.name() == origin && key.algorithm() == Algorithm::Ed25519;
        let keys: Vec<VerifierKey> = logs.iter().filter(is_log).cloned().collect();
        if keys.is_empty() {
            return Err(AddCheckpointError::UnknownLog(origin));
        }
        let signed = SignedCheckpoint::from_note(self.checkpoint.clone(), &keys)?;
        let new = signed.checkpoint();
        if self.old_size > new.size() {
            return Err(AddCheckpointError::OldSize {
                old: self.old_size,
                new: new.size(),
            });
        }
        let latest = latest.filter(|it| it.origin() == origin);
        let (size, root) = latest.map_or((0, EMPTY_ROOT), |it| (it.size(), it.root()));
        if self.old_size != size {
            return Err(AddCheckpointError::Conflict { size });
        }
        verify_consistency(size, new.size(), &self.proof, &root, &new.root())?;
        Ok(signed)
    }

    /// Returns the origin of the log that the checkpoint claims, which is not verified.
    ///
    /// # Errors
    ///
    /// The note is not a checkpoint.
    pub fn origin(&self) -> Result<String, ParseCheckpointError> {
        let checkpoint: Checkpoint = self.checkpoint.unverified_text().parse()?;
        Ok(checkpoint.origin().to_owned())
    }

    /// Returns the number of entries of the older checkpoint.
    #[must_use]
    pub const fn old_size(&self) -> u64 {
        self.old_size
    }

    /// Returns the consistency proof.
    #[must_use]
    pub fn proof(&self) -> &[Hash] {
        &self.proof
    }

    /// Returns the checkpoint, not verified.
    #[must_use]
    pub const fn checkpoint(&self) -> &SignedNote {
        &self.checkpoint
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|it| writeln!(f, "{it}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for AddCheckpoint {
    type Err = ParseRequestError;

    fn from_str(body: &str) -> Result<Self, Self::Err> {
        Self::parse(body)
    }
}

/// Returns the size in a response with the status 409 Conflict: that of the checkpoint that the
/// witness cosigned last, from which the log proves consistency in its next request. `None` if the
/// body is not a decimal number and a newline.
///
/// ```
/// use platform_audit_tlog::witness::conflict_size;
///
/// assert_eq!(conflict_size("20852014\n"), Some(20_852_014));
/// assert_eq!(conflict_size("<html>"), None);
/// ```
#[must_use]
pub fn conflict_size(body: &str) -> Option<u64> {
    decimal::parse(body.strip_suffix('\n')?)
}

/// The body of a request does not have the format.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseRequestError {
    /// A line does not have the format.
    #[error("line {0} is not what an add-checkpoint request has there")]
    Line(usize),
    /// There are more than [`MAX_HASHES`] hashes.
    #[error("the request has more than 63 hashes, which no log needs")]
    TooManyHashes,
    /// The checkpoint is not a note.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// A witness does not cosign a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddCheckpointError {
    /// The note is not a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] ParseCheckpointError),
    /// The witness knows no key of the log.
    #[error("no key of the log `{}` is known: configure it first", .0.escape_debug())]
    UnknownLog(String),
    /// The log did not sign the checkpoint.
    #[error(transparent)]
    Signature(#[from] CheckpointError),
    /// The old size exceeds that of the checkpoint.
    #[error("the old size {old} exceeds the {new} entries of the checkpoint")]
    OldSize {
        /// The old size in the request.
        old: u64,
        /// The size of the checkpoint.
        new: u64,
    },
    /// The witness cosigned a checkpoint of another size than the old one.
    #[error("the latest checkpoint has {size} entries: prove the consistency with that one")]
    Conflict {
        /// The number of entries of the latest checkpoint, which is the body of the response.
        size: u64,
    },
    /// The checkpoint is not consistent with the latest one.
    #[error(transparent)]
    Inconsistent(#[from] VerifyError),
}

impl AddCheckpointError {
    /// Returns the HTTP status of the response.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            // An empty log with another root has a checkpoint in the right form.
            Self::Checkpoint(ParseCheckpointError::EmptyRoot) | Self::Inconsistent(_) => 422,
            Self::Checkpoint(_) | Self::OldSize { .. } => 400,
            Self::Signature(_) => 403,
            Self::UnknownLog(_) => 404,
            Self::Conflict { .. } => 409,
        }
    }
}
