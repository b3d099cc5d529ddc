//! A proof that an entry is in a log, which is verified offline with the log's public key (C2SP
//! tlog-proof).
//!
//! ```
//! use platform_audit_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
//! use platform_audit_tlog::note::{Algorithm, SigningKey};
//! use platform_audit_tlog::proof::TlogProof;
//! use platform_audit_tlog::tree::{Frontier, leaf_hash};
//!
//! // The log, of two entries.
//! let key = SigningKey::generate("example.com/log", Algorithm::Ed25519)?;
//! let (a, b) = (leaf_hash(b"a"), leaf_hash(b"b"));
//! let frontier: Frontier = [a, b].into_iter().collect();
//! let checkpoint = Checkpoint::new("example.com/log", 2, frontier.root())?;
//! let checkpoint = SignedCheckpoint::sign(checkpoint, &key)?;
//! let proof = TlogProof::new(1, vec![a], checkpoint.note().clone())?.to_string();
//!
//! // The verifier has the entry, the proof and the public key.
//! let proof: TlogProof = proof.parse()?;
//! let checkpoint = proof.verify(&leaf_hash(b"b"), &[key.verifier_key().clone()])?;
//! assert_eq!(checkpoint.checkpoint().size(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::str::{self, FromStr};

use thiserror::Error;

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::note::{MAX_NOTE_BYTES, NoteError, SignedNote, VerifierKey};
use crate::tree::{Hash, VerifyError, verify_inclusion};
use crate::{base64, decimal};

const HEADER: &str = "c2sp.org/tlog-proof@v1\n";

/// The largest extra data of a proof in bytes.
pub const MAX_EXTRA_BYTES: usize = 1 << 20;

/// The largest number of hashes of an inclusion proof, in a tree of less than 2^64 entries.
pub const MAX_HASHES: usize = 64;

/// The longest proof in bytes: the limits of its parts together.
pub const MAX_PROOF_BYTES: usize = MAX_NOTE_BYTES + MAX_EXTRA_BYTES.div_ceil(3) * 4 + 4096;

/// The proof of one entry: its index, the inclusion proof, and the checkpoint that it leads to.
///
/// [`Display`](fmt::Display) returns exactly the bytes that were parsed. Files are named
/// `*.tlog-proof`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    extra: Vec<u8>,
    index: u64,
    hashes: Vec<Hash>,
    checkpoint: SignedNote,
}

impl TlogProof {
    /// Returns the proof of the entry at `index` (from 0), with the hashes of an
    /// [inclusion proof](crate::tile::inclusion_proof) for the checkpoint's size. Nothing is
    /// checked before [`verify`](Self::verify).
    ///
    /// # Errors
    ///
    /// There are more than [`MAX_HASHES`] hashes.
    pub fn new(index: u64, hashes: Vec<Hash>, checkpoint: SignedNote) -> Result<Self, ProofError> {
        match hashes.len() > MAX_HASHES {
            true => Err(ProofError::TooManyHashes),
            false => Ok(Self {
                extra: Vec::new(),
                index,
                hashes,
                checkpoint,
            }),
        }
    }

    /// Adds extra data for the application, which is not authenticated, such as what is needed to
    /// compute the entry's hash. Empty data is the same as none.
    ///
    /// # Errors
    ///
    /// The data exceeds [`MAX_EXTRA_BYTES`].
    pub fn with_extra(self, extra: impl Into<Vec<u8>>) -> Result<Self, ProofError> {
        let extra = extra.into();
        match extra.len() > MAX_EXTRA_BYTES {
            true => Err(ProofError::TooLong),
            false => Ok(Self { extra, ..self }),
        }
    }

    /// Parses a proof.
    ///
    /// # Errors
    ///
    /// The bytes do not have the format, or exceed [`MAX_PROOF_BYTES`] or a limit of a part.
    pub fn parse(proof: impl AsRef<[u8]>) -> Result<Self, ProofError> {
        let proof = proof.as_ref();
        if proof.len() > MAX_PROOF_BYTES {
            return Err(ProofError::TooLong);
        }
        let proof = str::from_utf8(proof).map_err(|_| ProofError::Line(1))?;
        let mut rest = proof.strip_prefix(HEADER).ok_or(ProofError::Line(1))?;
        let mut number = 1;
        let mut next = || {
            number += 1;
            let (line, after) = rest.split_once('\n').ok_or(ProofError::Line(number))?;
            rest = after;
            Ok::<_, ProofError>((number, line))
        };

        let mut extra = Vec::new();
        let (mut number, mut line) = next()?;
        if let Some(encoded) = line.strip_prefix("extra ") {
            extra = base64::decode(encoded).ok_or(ProofError::Line(number))?;
            // Without data the line is omitted.
            if extra.is_empty() {
                return Err(ProofError::Line(number));
            }
            (number, line) = next()?;
        }
        let index = line.strip_prefix("index ").and_then(decimal::parse);
        let index = index.ok_or(ProofError::Line(number))?;

        let mut hashes = Vec::new();
        loop {
            let (number, line) = next()?;
            if line.is_empty() {
                break;
            }
            hashes.push(line.parse().map_err(|_| ProofError::Line(number))?);
        }
        Self::new(index, hashes, SignedNote::parse(rest)?)?.with_extra(extra)
    }

    /// Checks that the entry with hash `leaf` is in the log, at this index, and returns the
    /// checkpoint that contains it.
    ///
    /// `keys` are those of the logs that are accepted, and of witnesses, as for
    /// [`SignedCheckpoint::open`]. How many
    /// [cosignatures](SignedCheckpoint::cosignatures) are enough is up to the caller. Compute
    /// `leaf` from data that you have, never from the proof alone.
    ///
    /// # Errors
    ///
    /// The log did not sign the checkpoint, a signature by any of the keys is wrong, or the
    /// inclusion proof does not hold.
    pub fn verify(
        &self,
        leaf: &Hash,
        keys: &[VerifierKey],
    ) -> Result<SignedCheckpoint, ProofError> {
        let signed = SignedCheckpoint::from_note(self.checkpoint.clone(), keys)?;
        let checkpoint = signed.checkpoint();
        let (size, root) = (checkpoint.size(), checkpoint.root());
        verify_inclusion(leaf, self.index, size, &self.hashes, &root)?;
        Ok(signed)
    }

    /// Returns the extra data, which is not authenticated; empty if there is none.
    #[must_use]
    pub fn extra(&self) -> &[u8] {
        &self.extra
    }

    /// Returns the index of the entry in the log, from 0.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Returns the inclusion proof, the entry's sibling first.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Returns the checkpoint as it was parsed, not verified.
    #[must_use]
    pub const fn checkpoint(&self) -> &SignedNote {
        &self.checkpoint
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        if !self.extra.is_empty() {
            writeln!(f, "extra {}", base64::encode(&self.extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|it| writeln!(f, "{it}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for TlogProof {
    type Err = ProofError;

    fn from_str(proof: &str) -> Result<Self, Self::Err> {
        Self::parse(proof)
    }
}

/// A text is not a proof, or the proof does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The proof or its extra data is too long.
    #[error(
        "the proof is too long: at most 1 MiB of extra data and 1 MB of checkpoint are accepted"
    )]
    TooLong,
    /// The proof has more than [`MAX_HASHES`] hashes.
    #[error("the proof has more than 64 hashes, which no tree needs")]
    TooManyHashes,
    /// A line does not have the format.
    #[error("line {0} is not what a tlog-proof has there: it may be truncated")]
    Line(usize),
    /// The checkpoint is not a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The checkpoint is not signed as it has to be.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The inclusion proof does not hold.
    #[error(transparent)]
    Inclusion(#[from] VerifyError),
}
