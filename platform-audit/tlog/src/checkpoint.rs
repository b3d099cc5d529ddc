//! Checkpoints: the origin, size and root of a log, signed by the log (C2SP tlog-checkpoint).
//!
//! ```
//! use platform_audit_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
//! use platform_audit_tlog::note::{Algorithm, SigningKey};
//! use platform_audit_tlog::tree::{Frontier, leaf_hash};
//!
//! // The log.
//! let key = SigningKey::generate("example.com/log", Algorithm::Ed25519)?;
//! let frontier: Frontier = [leaf_hash(b"entry")].into_iter().collect();
//! let checkpoint = Checkpoint::new("example.com/log", frontier.size(), frontier.root())?;
//! let published = SignedCheckpoint::sign(checkpoint, &key)?.to_string();
//!
//! // A verifier.
//! let opened = SignedCheckpoint::open(&published, &[key.verifier_key().clone()])?;
//! assert_eq!(opened.checkpoint().size(), 1);
//! assert_eq!(opened.checkpoint().root(), frontier.root());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::decimal;
use crate::note::{
    Algorithm, MAX_SIGNATURES, NoteError, SignError, SignedNote, Signer, VerifiedSignature,
    VerifierKey, control_character, parse_lines, verified_by,
};
use crate::tree::{EMPTY_ROOT, Hash};

/// What a log says about itself: which log it is, how many entries it has, and their root (C2SP
/// tlog-checkpoint, “Note text”).
///
/// [`Display`](fmt::Display) and [`FromStr`] use the text of the note. A checkpoint by itself
/// proves nothing: see [`SignedCheckpoint`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// Returns the checkpoint of a log with this origin, number of entries and root. The origin
    /// should be a URL without a scheme, such as `example.com/log`.
    ///
    /// # Errors
    ///
    /// The origin is empty or contains a control character, or the root of an empty log is not
    /// [`EMPTY_ROOT`].
    pub fn new(
        origin: impl Into<String>,
        size: u64,
        root: Hash,
    ) -> Result<Self, ParseCheckpointError> {
        let origin = origin.into();
        if !is_line(&origin) {
            return Err(ParseCheckpointError::Line(1));
        }
        match size == 0 && root != EMPTY_ROOT {
            true => Err(ParseCheckpointError::EmptyRoot),
            false => Ok(Self {
                origin,
                size,
                root,
                extensions: Vec::new(),
            }),
        }
    }

    /// Adds an extension line, which the specification does not recommend.
    ///
    /// # Errors
    ///
    /// The line is empty or contains a control character.
    pub fn with_extension(mut self, line: impl Into<String>) -> Result<Self, ParseCheckpointError> {
        let line = line.into();
        match is_line(&line) {
            true => self.extensions.push(line),
            false => return Err(ParseCheckpointError::Line(4 + self.extensions.len())),
        }
        Ok(self)
    }

    /// Returns the origin, which identifies the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the number of entries.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns the root of the tree.
    #[must_use]
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// Returns the extension lines.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

/// Lines are not empty, and contain no control character.
fn is_line(line: &str) -> bool {
    !line.is_empty() && !line.contains('\n') && control_character(line).is_none()
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root)?;
        self.extensions
            .iter()
            .try_for_each(|it| writeln!(f, "{it}"))
    }
}

impl FromStr for Checkpoint {
    type Err = ParseCheckpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text
            .strip_suffix('\n')
            .ok_or(ParseCheckpointError::Truncated)?;
        let mut lines = text.split('\n');
        let mut line = || lines.next().ok_or(ParseCheckpointError::Truncated);
        let (origin, size, root) = (line()?, line()?, line()?);
        let size = decimal::parse(size).ok_or(ParseCheckpointError::Line(2))?;
        let root = root.parse().map_err(|_| ParseCheckpointError::Line(3))?;
        lines.try_fold(Self::new(origin, size, root)?, Self::with_extension)
    }
}

/// A checkpoint that the log signed, and possibly witnesses.
///
/// [`Display`](fmt::Display) returns the whole note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: SignedNote,
    cosignatures: Vec<Cosignature>,
}

impl SignedCheckpoint {
    /// Signs the checkpoint as the log.
    ///
    /// Never sign a checkpoint that is inconsistent with one that was signed before: two such notes
    /// prove that the log shows different histories.
    ///
    /// # Errors
    ///
    /// The key's name is not the checkpoint's origin, it is not of type
    /// [Ed25519](Algorithm::Ed25519), or the signer fails.
    pub fn sign<S: Signer>(checkpoint: Checkpoint, signer: &S) -> Result<Self, SignError> {
        let name = signer.key().name();
        if name != checkpoint.origin {
            let (name, origin) = (name.to_owned(), checkpoint.origin);
            return Err(SignError::Origin { name, origin });
        }
        let note = SignedNote::sign(checkpoint.to_string(), &[signer])?;
        Ok(Self {
            checkpoint,
            note,
            cosignatures: Vec::new(),
        })
    }

    /// Parses a checkpoint and checks its signatures.
    ///
    /// `keys` are those of logs and of witnesses, in any order. A key of type
    /// [Ed25519](Algorithm::Ed25519) is the key of the log whose origin is the key's name, so a log
    /// cannot sign for another one; the specification recommends such names. A key of type
    /// [cosignature/v1](Algorithm::CosignatureV1) is that of a witness, whatever its name. How many
    /// [`cosignatures`](Self::cosignatures) are enough is up to the caller.
    ///
    /// # Errors
    ///
    /// The note or its text does not have the format, the log did not sign it with a key in `keys`,
    /// or a signature by any of the keys is wrong.
    pub fn open(note: impl AsRef<[u8]>, keys: &[VerifierKey]) -> Result<Self, CheckpointError> {
        Self::from_note(SignedNote::parse(note)?, keys)
    }

    /// As [`open`](Self::open), for a note that was parsed before.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn from_note(note: SignedNote, keys: &[VerifierKey]) -> Result<Self, CheckpointError> {
        let verified = note.verify(keys)?;
        let checkpoint: Checkpoint = verified.text().parse()?;
        let by_log = |it: &VerifiedSignature| {
            it.key.algorithm() == Algorithm::Ed25519 && it.key.name() == checkpoint.origin
        };
        if !verified.signatures().iter().any(by_log) {
            return Err(CheckpointError::NotByLog {
                origin: checkpoint.origin,
            });
        }
        let cosignatures = cosignatures(verified.signatures());
        Ok(Self {
            checkpoint,
            note,
            cosignatures,
        })
    }

    /// Adds the cosignatures that a witness returned for this checkpoint, as one or more signature
    /// lines (C2SP tlog-witness, “add-checkpoint”), and returns those that are by one of the
    /// witnesses' keys. Lines by other keys are ignored.
    ///
    /// # Errors
    ///
    /// The text is not signature lines, a signature by a witness is wrong, or there would be too
    /// many signatures. The checkpoint is not changed then.
    pub fn add_cosignatures(
        &mut self,
        lines: &str,
        witnesses: &[VerifierKey],
    ) -> Result<Vec<Cosignature>, NoteError> {
        let is_witness = |key: &VerifierKey| key.algorithm() == Algorithm::CosignatureV1;
        let keys: Vec<VerifierKey> = witnesses
            .iter()
            .filter(|it| is_witness(it))
            .cloned()
            .collect();
        let mut signatures = parse_lines(lines, MAX_SIGNATURES)?;
        signatures.retain(|line| {
            keys.iter()
                .any(|it| it.name() == line.name() && it.id() == line.key_id())
        });
        let text = self.note.unverified_text();
        let added = cosignatures(&verified_by(text, &signatures, &keys)?);

        self.note = self.note.clone().with_signatures(signatures)?;
        for cosignature in &added {
            self.cosignatures.retain(|it| it.key != cosignature.key);
            self.cosignatures.push(cosignature.clone());
        }
        Ok(added)
    }

    /// Returns the checkpoint.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Returns the note, with all signatures.
    #[must_use]
    pub const fn note(&self) -> &SignedNote {
        &self.note
    }

    /// Returns the cosignatures by witnesses whose keys the verifier passed: one a key.
    #[must_use]
    pub fn cosignatures(&self) -> &[Cosignature] {
        &self.cosignatures
    }
}

/// A cosignature that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cosignature {
    /// The key of the witness.
    pub key: VerifierKey,
    /// When the witness signed, in seconds since 1970, at most 2^63 − 1. It may be in the future:
    /// limits are up to the caller.
    pub timestamp: u64,
}

fn cosignatures(signatures: &[VerifiedSignature]) -> Vec<Cosignature> {
    let cosignature = |it: &VerifiedSignature| {
        it.timestamp.map(|timestamp| Cosignature {
            key: it.key.clone(),
            timestamp,
        })
    };
    signatures.iter().filter_map(cosignature).collect()
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

/// A text is not a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseCheckpointError {
    /// The text has fewer than three lines, or the last one does not end in a newline.
    #[error("the checkpoint is not at least three lines: it may be truncated")]
    Truncated,
    /// A line does not have the format.
    #[error(
        "line {0} of the checkpoint does not have the format: origin, decimal size, root in Base 64, extensions; none of them empty"
    )]
    Line(usize),
    /// The root of an empty log is not [`EMPTY_ROOT`].
    #[error("the checkpoint of an empty log does not have the root of the empty tree")]
    EmptyRoot,
}

/// A note is not a signed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The note does not have the format, or a signature is missing or wrong.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text of the note is not a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] ParseCheckpointError),
    /// The log did not sign its checkpoint.
    #[error(
        "the checkpoint of `{}` is not signed by a trusted key of that name: witnesses and other logs do not suffice",
        .origin.escape_debug()
    )]
    NotByLog {
        /// The origin of the checkpoint.
        origin: String,
    },
}
