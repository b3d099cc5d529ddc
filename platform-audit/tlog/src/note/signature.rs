use std::fmt;
use std::str::FromStr;

use super::verifier_key::is_key_name;
use super::{Algorithm, KeyId, NoteError, VerifierKey, timestamped};
use crate::base64;

/// One signature line of a note, by a known or unknown key (C2SP signed-note, “Signatures”).
///
/// [`Display`](fmt::Display) and [`FromStr`] use the line without the newline:
/// `— <key name> base64(<key identifier> || <signature>)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    name: String,
    key_id: KeyId,
    bytes: Vec<u8>,
}

impl Signature {
    /// Returns the line of an [Ed25519](Algorithm::Ed25519) signature that was made elsewhere, for
    /// example by a key management service that is called asynchronously. What is signed is the
    /// note's text. The signature itself is not checked: [`SignedNote::verify`] does.
    ///
    /// # Errors
    ///
    /// The key is of another type.
    ///
    /// [`SignedNote::verify`]: super::SignedNote::verify
    pub fn from_ed25519(key: &VerifierKey, signature: &[u8; 64]) -> Result<Self, NoteError> {
        Self::of(key, Algorithm::Ed25519, signature.to_vec())
    }

    /// Returns the line of a [cosignature/v1](Algorithm::CosignatureV1) that was made elsewhere at
    /// `timestamp`, in seconds since 1970. What is signed is
    /// [`cosignature::message`](crate::cosignature::message). The signature itself is not checked.
    ///
    /// # Errors
    ///
    /// The key is of another type.
    pub fn from_cosignature(
        key: &VerifierKey,
        timestamp: u64,
        signature: &[u8; 64],
    ) -> Result<Self, NoteError> {
        Self::of(
            key,
            Algorithm::CosignatureV1,
            timestamped::join(timestamp, signature),
        )
    }

    fn of(key: &VerifierKey, algorithm: Algorithm, bytes: Vec<u8>) -> Result<Self, NoteError> {
        match key.algorithm() == algorithm {
            true => Ok(Self {
                name: key.name().to_owned(),
                key_id: key.id(),
                bytes,
            }),
            false => Err(NoteError::KeyType {
                name: key.name().to_owned(),
                expected: algorithm,
            }),
        }
    }

    /// Returns the name of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the identifier of the key.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Returns the bytes of the signature, without the identifier of the key.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the length of the line in bytes, with its newline.
    pub(super) fn line_bytes(&self) -> usize {
        let encoded = (4 + self.bytes.len()).div_ceil(3) * 4;
        "— ".len() + self.name.len() + 1 + encoded + 1
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.key_id.value().to_be_bytes()[..], &self.bytes].concat();
        write!(f, "— {} {}", self.name, base64::encode(&bytes))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

impl FromStr for Signature {
    type Err = NoteError;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        parse(line).ok_or(NoteError::SignatureLine { line: 1 })
    }
}

fn parse(line: &str) -> Option<Signature> {
    let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
    let decoded = base64::decode(encoded)?;
    let (key_id, bytes) = decoded.split_first_chunk()?;
    let valid = is_key_name(name) && !bytes.is_empty();
    valid.then(|| Signature {
        name: name.to_owned(),
        key_id: KeyId::new(u32::from_be_bytes(*key_id)),
        bytes: bytes.to_vec(),
    })
}

/// Parses signature lines, each of which ends in a newline, of which there is at least one.
pub(crate) fn parse_lines(lines: &str, limit: usize) -> Result<Vec<Signature>, NoteError> {
    let lines = lines.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
    let mut signatures = Vec::new();
    for (at, line) in lines.split('\n').enumerate() {
        if at == limit {
            return Err(NoteError::TooManySignatures);
        }
        signatures.push(parse(line).ok_or(NoteError::SignatureLine { line: at + 1 })?);
    }
    Ok(signatures)
}
