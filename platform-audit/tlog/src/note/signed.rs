use std::fmt;
use std::str::{self, FromStr};

use thiserror::Error;

use super::{
    Algorithm, KeyId, Signature, Signer, SignerError, VerifierKey, parse_lines, sign_with,
};

/// The longest note in bytes, signatures included, that is parsed or signed.
pub const MAX_NOTE_BYTES: usize = 1_000_000;

/// The largest number of signatures of a note that is parsed or signed. The specification demands
/// at least 16.
pub const MAX_SIGNATURES: usize = 100;

/// A text with its signatures, which may be by anybody: the text is not to be used before
/// [`verify`](Self::verify) (C2SP signed-note).
///
/// [`Display`](fmt::Display) returns exactly the bytes that were parsed.
///
/// ```
/// use platform_audit_tlog::note::{SignedNote, VerifierKey};
///
/// // The example of the specification.
/// let note = "This is an example message.
///
/// — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
/// ";
/// let key = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
/// let key: VerifierKey = key.parse()?;
///
/// let parsed = SignedNote::parse(note)?;
/// assert_eq!(parsed.verify(&[key])?.text(), "This is an example message.\n");
/// assert_eq!(parsed.to_string(), note);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<Signature>,
}

impl SignedNote {
    /// Returns the note with this text and these signatures, which are not checked.
    ///
    /// # Errors
    ///
    /// The text does not end in a newline or contains other control characters, there is no
    /// signature, or the note exceeds [`MAX_NOTE_BYTES`] or [`MAX_SIGNATURES`].
    pub fn new(text: impl Into<String>, signatures: Vec<Signature>) -> Result<Self, NoteError> {
        let text = text.into();
        if !text.ends_with('\n') {
            return Err(NoteError::Format);
        }
        if let Some(character) = control_character(&text) {
            return Err(NoteError::ControlCharacter(character));
        }
        if signatures.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        let bytes = text.len() + 1 + signatures.iter().map(Signature::line_bytes).sum::<usize>();
        match bytes > MAX_NOTE_BYTES {
            true => Err(NoteError::TooLong(bytes)),
            false => Ok(Self { text, signatures }),
        }
    }

    /// Signs the text with keys of type [Ed25519](Algorithm::Ed25519), and checks the signatures.
    ///
    /// # Errors
    ///
    /// The text does not end in a newline or contains other control characters, there is no signer,
    /// a key is of another type, or a signer fails.
    pub fn sign<S: Signer>(text: impl Into<String>, signers: &[S]) -> Result<Self, SignError> {
        let text = text.into();
        let sign = |signer| {
            let signature = sign_with(signer, Algorithm::Ed25519, text.as_bytes())?;
            Ok(Signature::from_ed25519(Signer::key(signer), &signature)?)
        };
        let signatures = signers.iter().map(sign).collect::<Result<_, SignError>>()?;
        Ok(Self::new(text, signatures)?)
    }

    /// Parses a note.
    ///
    /// # Errors
    ///
    /// The bytes are not UTF-8, contain control characters other than newlines, do not have the
    /// format, have no signature, or exceed [`MAX_NOTE_BYTES`] or [`MAX_SIGNATURES`].
    pub fn parse(note: impl AsRef<[u8]>) -> Result<Self, NoteError> {
        let note = note.as_ref();
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong(note.len()));
        }
        let note = str::from_utf8(note).map_err(|_| NoteError::Encoding)?;
        if let Some(character) = control_character(note) {
            return Err(NoteError::ControlCharacter(character));
        }
        // The last empty line separates the signatures, as the text may contain others.
        let separator = note.rfind("\n\n").ok_or(NoteError::Format)?;
        let (text, signatures) = note.split_at(separator + 1);
        let signatures = parse_lines(&signatures[1..], MAX_SIGNATURES)?;
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// Checks the signatures of the keys that the verifier trusts, and returns the text and the
    /// keys that signed it. Signatures by other keys are ignored.
    ///
    /// # Errors
    ///
    /// No trusted key signed the note, or a signature by name and identifier of a trusted key is
    /// wrong, even if others are right.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Verified<'_>, NoteError> {
        let signatures = verified_by(&self.text, &self.signatures, keys)?;
        match signatures.is_empty() {
            true => Err(NoteError::NoTrustedSignature),
            false => Ok(Verified {
                text: &self.text,
                signatures,
            }),
        }
    }

    /// Returns the text with its final newline, without verifying it. Only a signer, or a caller
    /// that verified the note, should use it.
    #[must_use]
    pub fn unverified_text(&self) -> &str {
        &self.text
    }

    /// Returns the signatures, without verifying them.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds signatures, such as those of witnesses, without those that the note contains already.
    /// They are not checked.
    ///
    /// # Errors
    ///
    /// The note would exceed [`MAX_NOTE_BYTES`] or [`MAX_SIGNATURES`].
    pub fn with_signatures(
        self,
        more: impl IntoIterator<Item = Signature>,
    ) -> Result<Self, NoteError> {
        let Self {
            text,
            mut signatures,
        } = self;
        for signature in more {
            if !signatures.contains(&signature) {
                signatures.push(signature);
            }
        }
        Self::new(text, signatures)
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|it| writeln!(f, "{it}"))
    }
}

impl FromStr for SignedNote {
    type Err = NoteError;

    fn from_str(note: &str) -> Result<Self, Self::Err> {
        Self::parse(note)
    }
}

/// Returns the first ASCII control character other than a newline.
pub(crate) fn control_character(text: &str) -> Option<char> {
    text.chars().find(|it| *it < ' ' && *it != '\n')
}

/// Checks the signatures of the text by any of the keys, and returns one for each of these keys.
pub(crate) fn verified_by(
    text: &str,
    signatures: &[Signature],
    keys: &[VerifierKey],
) -> Result<Vec<VerifiedSignature>, NoteError> {
    let mut verified: Vec<VerifiedSignature> = Vec::new();
    for signature in signatures {
        let (name, id) = (signature.name(), signature.key_id());
        let mut known = keys
            .iter()
            .filter(|key| key.name() == name && key.id() == id);
        let Some(key) = known.next() else { continue };
        if known.any(|other| other != key) {
            return Err(NoteError::AmbiguousKeys {
                name: name.to_owned(),
                id,
            });
        }
        let timestamp =
            key.check(text, signature.bytes())
                .ok_or_else(|| NoteError::WrongSignature {
                    name: name.to_owned(),
                    id,
                })?;
        match verified.iter_mut().find(|it| it.key == *key) {
            // Repeating a signature must not count as a second signer.
            Some(other) => other.timestamp = other.timestamp.max(timestamp),
            None => verified.push(VerifiedSignature {
                key: key.clone(),
                timestamp,
            }),
        }
    }
    Ok(verified)
}

/// A note whose trusted signatures were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<'n> {
    text: &'n str,
    signatures: Vec<VerifiedSignature>,
}

impl<'n> Verified<'n> {
    /// Returns the text, with its final newline.
    #[must_use]
    pub const fn text(&self) -> &'n str {
        self.text
    }

    /// Returns the trusted keys that signed: at least one, and each once.
    #[must_use]
    pub fn signatures(&self) -> &[VerifiedSignature] {
        &self.signatures
    }
}

/// A trusted key that signed a note.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedSignature {
    /// The key.
    pub key: VerifierKey,
    /// When a [cosignature](Algorithm::CosignatureV1) was made, in seconds since 1970, at most
    /// 2^63 − 1, and the latest if there are several; `None` for other signatures.
    pub timestamp: Option<u64>,
}

/// Bytes are not a note, or a note is not signed as it has to be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The note is too long.
    #[error("the note has {0} bytes: at most 1000000 are accepted")]
    TooLong(usize),
    /// The note is not UTF-8.
    #[error("the note is not UTF-8")]
    Encoding,
    /// The note contains a control character.
    #[error("the note contains the control character {:?}: only newlines are allowed", .0)]
    ControlCharacter(char),
    /// The note has no empty line before its signatures, or its text does not end in a newline.
    #[error("the note is not a text that ends in a newline, an empty line, and signatures")]
    Format,
    /// The note has no signature, or does not end in a newline.
    #[error("the note does not end in signature lines: it may be truncated")]
    NoSignatures,
    /// The note has more than [`MAX_SIGNATURES`] signatures.
    #[error("the note has more than 100 signatures")]
    TooManySignatures,
    /// A line after the last empty line is not a signature.
    #[error("signature line {line} of the note is not `— name signature`")]
    SignatureLine {
        /// The number of the line after the empty line, from 1.
        line: usize,
    },
    /// No trusted key signed the note.
    #[error(
        "no trusted key signed the note: do not use it, or add the key if you know from another source that it is the right one"
    )]
    NoTrustedSignature,
    /// A signature by a trusted key is wrong.
    #[error("the signature by `{name}` (key {id}) is wrong: the note was altered")]
    WrongSignature {
        /// The name of the key.
        name: String,
        /// The identifier of the key.
        id: KeyId,
    },
    /// Two different trusted keys have the same name and identifier.
    #[error("two trusted keys have the name `{name}` and the identifier {id}: remove one")]
    AmbiguousKeys {
        /// The name of both keys.
        name: String,
        /// The identifier of both keys.
        id: KeyId,
    },
    /// A key cannot make signatures of this type.
    #[error(
        "the key of `{name}` is not of type {expected:?}: logs and witnesses have different keys"
    )]
    KeyType {
        /// The name of the key.
        name: String,
        /// The type that is needed.
        expected: Algorithm,
    },
}

/// A note or a checkpoint cannot be signed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SignError {
    /// The text or the signatures are not valid in a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The signer failed.
    #[error("`{name}` could not sign")]
    Signer {
        /// The name of the key.
        name: String,
        /// The error of the signer.
        source: SignerError,
    },
    /// The signer's signature is not by the key that it says.
    #[error(
        "the signature that `{name}` made is not by its key {id}: check which key the signer uses"
    )]
    WrongKey {
        /// The name of the key.
        name: String,
        /// The identifier of the key.
        id: KeyId,
    },
    /// The key's name is not the origin of the log.
    #[error(
        "the key `{name}` cannot sign checkpoints of `{origin}`: its name has to be the origin"
    )]
    Origin {
        /// The name of the key.
        name: String,
        /// The origin of the checkpoint.
        origin: String,
    },
    /// The time of a cosignature is 0 or above 2^63 − 1.
    #[error("{0} is not the time of a cosignature: use the seconds since 1970")]
    Timestamp(u64),
}
