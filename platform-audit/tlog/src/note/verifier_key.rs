use std::fmt;
use std::io;
use std::str::FromStr;

use ed25519_dalek::{Signature as Ed25519Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::timestamped;
use crate::base64;

/// What a key signs, by the signature type of its identifier (C2SP signed-note, “Signature types”).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Type `0x01`: an Ed25519 signature (RFC 8032) of the note's text.
    Ed25519,
    /// Type `0x04`: a timestamped Ed25519 signature of a checkpoint (C2SP tlog-cosignature).
    CosignatureV1,
}

impl Algorithm {
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::CosignatureV1 => 4,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, KeyError> {
        match byte {
            1 => Ok(Self::Ed25519),
            4 => Ok(Self::CosignatureV1),
            _ => Err(KeyError::Algorithm(byte)),
        }
    }
}

/// Identifies a key, together with its name: the first 32 bits of a hash of the name, the signature
/// type and the public key. [`Display`](fmt::Display) uses eight hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u32);

impl KeyId {
    /// Returns the identifier with this value.
    #[must_use]
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// Returns the value.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }

    /// SHA-256(name ‖ "\n" ‖ signature type ‖ public key), of which the first four bytes count.
    fn derive(name: &str, algorithm: Algorithm, public: &[u8; 32]) -> Self {
        let hash: [u8; 32] = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', algorithm.byte()])
            .chain_update(public)
            .finalize()
            .into();
        let [a, b, c, d, ..] = hash;
        Self(u32::from_be_bytes([a, b, c, d]))
    }

    fn parse(text: &str) -> Option<Self> {
        let canonical = text.len() == 8
            && text
                .bytes()
                .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
        canonical.then(|| u32::from_str_radix(text, 16).ok().map(Self))?
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A public key that a verifier trusts, with its name and its signature type (C2SP signed-note,
/// “Verifier keys”).
///
/// [`Display`](fmt::Display) and [`FromStr`] use the *vkey* text: name, identifier and key,
/// separated by plus signs.
///
/// ```
/// use platform_audit_tlog::note::{Algorithm, VerifierKey};
///
/// // The example of the specification.
/// let text = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
/// let key: VerifierKey = text.parse()?;
/// assert_eq!(key.name(), "example.com/foo");
/// assert_eq!(key.algorithm(), Algorithm::Ed25519);
/// assert_eq!(key.to_string(), text);
/// # Ok::<(), platform_audit_tlog::note::KeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: KeyId,
    algorithm: Algorithm,
    public: VerifyingKey,
}

impl VerifierKey {
    /// Returns the key with this name, signature type and Ed25519 public key (RFC 8032, section
    /// 5.1.5).
    ///
    /// # Errors
    ///
    /// The name is empty, or contains a space, a plus sign or a control character; or the bytes are
    /// not a public key, or one of the few that accept signatures of anything.
    pub fn new(
        name: impl Into<String>,
        algorithm: Algorithm,
        public: &[u8; 32],
    ) -> Result<Self, KeyError> {
        let name = name.into();
        if !is_key_name(&name) {
            return Err(KeyError::Name(name));
        }
        let id = KeyId::derive(&name, algorithm, public);
        let public = VerifyingKey::from_bytes(public).map_err(|_| KeyError::PublicKey)?;
        match public.is_weak() {
            true => Err(KeyError::PublicKey),
            false => Ok(Self {
                name,
                id,
                algorithm,
                public,
            }),
        }
    }

    /// Returns the name, which for the key of a log is the log's origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the identifier, which is in the key's signatures.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Returns the signature type.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the 32 bytes of the public key.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        self.public.as_bytes()
    }

    /// Returns whether `signature` is this key's Ed25519 signature of `message`.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        // Strict: a signature is valid for one key and one message only.
        let signature = Ed25519Signature::from_bytes(signature);
        self.public.verify_strict(message, &signature).is_ok()
    }

    /// Checks the bytes of a note's signature, without the key identifier, and returns the time of
    /// a cosignature; `None` if they are not a signature of this text.
    pub(super) fn check(&self, text: &str, signature: &[u8]) -> Option<Option<u64>> {
        match self.algorithm {
            Algorithm::Ed25519 => self
                .has_signed(text.as_bytes(), signature.try_into().ok()?)
                .then_some(None),
            Algorithm::CosignatureV1 => {
                let (timestamp, signature) = timestamped::split(signature)?;
                let message = timestamped::message(text, timestamp);
                self.has_signed(message.as_bytes(), signature)
                    .then_some(Some(timestamp))
            }
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = [self.algorithm.byte(); 33];
        key[1..].copy_from_slice(self.public.as_bytes());
        write!(f, "{}+{}+{}", self.name, self.id, base64::encode(&key))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 33];
        let (name, id, algorithm) = parse(text, &mut bytes)?;
        let [_, public @ ..] = &bytes;
        Self::new(name, algorithm, public)?.with_id(id)
    }
}

impl VerifierKey {
    /// Checks the identifier that a text contains.
    pub(super) fn with_id(self, id: KeyId) -> Result<Self, KeyError> {
        match self.id == id {
            true => Ok(self),
            false => Err(KeyError::Id {
                name: self.name,
                expected: self.id,
                actual: id,
            }),
        }
    }
}

/// Parses `<name>+<id>+base64(<signature type> || <key>)`, and writes what is in Base 64 to `key`.
pub(super) fn parse<'t>(
    text: &'t str,
    key: &mut [u8; 33],
) -> Result<(&'t str, KeyId, Algorithm), KeyError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Format);
    };
    let id = KeyId::parse(id).ok_or(KeyError::Format)?;
    if base64::decode_into(encoded, key).is_none() {
        // Keys of other algorithms have other lengths. The type is in the first four characters.
        let start = encoded.get(..4).and_then(base64::decode);
        let algorithm = start
            .and_then(|it| it.first().copied())
            .ok_or(KeyError::Format)?;
        return Err(Algorithm::from_byte(algorithm)
            .err()
            .unwrap_or(KeyError::Format));
    }
    Ok((name, id, Algorithm::from_byte(key[0])?))
}

/// Key names are not empty, and contain no Unicode space, plus sign or control character.
pub(super) fn is_key_name(name: &str) -> bool {
    let allowed = |it: char| !it.is_whitespace() && it != '+' && it >= ' ';
    !name.is_empty() && name.chars().all(allowed)
}

/// A text or bytes are not a key. No message contains a private key.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The name cannot be used.
    #[error(
        "`{}` is not a key name: use a URL without a scheme, such as `example.com/log`, without spaces and plus signs",
        .0.escape_debug()
    )]
    Name(String),
    /// The text is not a key.
    #[error("the text is not a key: check that it is `name+id+key`, on one line and complete")]
    Format,
    /// The identifier in the text is not that of the key.
    #[error(
        "the key of `{name}` has the identifier {expected}, not {actual}: the text was altered"
    )]
    Id {
        /// The name of the key.
        name: String,
        /// The identifier of the key.
        expected: KeyId,
        /// The identifier in the text.
        actual: KeyId,
    },
    /// The signature type is not supported.
    #[error(
        "keys of signature type {0:#04x} are not supported: use Ed25519 (0x01) or cosignature/v1 (0x04)"
    )]
    Algorithm(u8),
    /// The bytes are not an Ed25519 public key, or a weak one.
    #[error("the bytes are not a usable Ed25519 public key")]
    PublicKey,
    /// The operating system provided no random bytes.
    #[error("no random bytes for a new key")]
    Random(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn altered_texts_are_refused() {
        for (from, to) in [
            ("530d903a", "530D903A"),
            ("530d903a", "30d903a"),
            ("530d903a", "+530d903"),
            ("foo", "foo bar"),
            ("foo", "foo\u{a0}"),
            ("example.com/foo", ""),
            ("U2k", "U2k\n"),
            ("U2k", "U2"),
            ("U2k", "U2k="),
            ("+Aeky", "Aeky"),
            ("+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "+"),
        ] {
            let text = EXAMPLE.replace(from, to);
            assert!(text.parse::<VerifierKey>().is_err(), "{text:?}");
        }
        let other = EXAMPLE.replace("foo", "bar").parse::<VerifierKey>();
        assert!(matches!(other, Err(KeyError::Id { .. })));
    }

    #[test]
    fn keys_of_other_types_are_named() {
        // The type byte of ML-DSA-44, whose keys are longer.
        for length in [33, 1313] {
            let encoded = base64::encode(&vec![6; length]);
            let key = format!("example.com/foo+530d903a+{encoded}").parse::<VerifierKey>();
            assert!(matches!(key, Err(KeyError::Algorithm(6))));
        }
    }

    #[test]
    fn weak_and_invalid_public_keys_are_refused() {
        // The identity, and a point that is not on the curve.
        let identity = std::array::from_fn(|at| u8::from(at == 0));
        let off_curve = std::array::from_fn(|at| if at == 0 { 2 } else { 0 });
        for bytes in [identity, off_curve, [0; 32]] {
            let key = VerifierKey::new("example.com", Algorithm::Ed25519, &bytes);
            assert!(matches!(key, Err(KeyError::PublicKey)));
        }
    }

    #[test]
    fn the_signature_type_is_part_of_the_identifier() {
        let one: VerifierKey = EXAMPLE.parse().unwrap();
        let other =
            VerifierKey::new(one.name(), Algorithm::CosignatureV1, one.public_key()).unwrap();
        assert_ne!(one.id(), other.id());
        assert_eq!(other.to_string().parse::<VerifierKey>().unwrap(), other);
    }
}
