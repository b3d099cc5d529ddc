use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::base64;

pub(crate) const HASH_BYTES: usize = 32;

/// The root of a tree without entries: SHA-256 of no bytes (RFC 6962, section 2.1).
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// A SHA-256 hash: of an entry, of a node, or the root of a tree.
///
/// [`Display`](fmt::Display) and [`FromStr`] use Base 64, as C2SP's formats do; `{:x}` formats
/// lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; HASH_BYTES]);

impl Hash {
    /// Returns the hash with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the 32 bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl From<[u8; HASH_BYTES]> for Hash {
    fn from(bytes: [u8; HASH_BYTES]) -> Self {
        Self(bytes)
    }
}

impl From<Hash> for [u8; HASH_BYTES] {
    fn from(hash: Hash) -> Self {
        hash.0
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&base64::encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl fmt::LowerHex for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl FromStr for Hash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; HASH_BYTES];
        base64::decode_into(text, &mut bytes).ok_or(ParseHashError)?;
        Ok(Self(bytes))
    }
}

/// A text is not the Base 64 encoding of 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a hash is not 32 bytes in Base 64: use the standard alphabet (RFC 4648, section 4), with padding"
)]
pub struct ParseHashError;

/// Returns the hash of an entry: SHA-256 of the byte 0 and the entry (RFC 6962, section 2.1).
///
/// Entries in [entry bundles](crate::tile::encode_bundle) have at most 65,535 bytes; this function
/// hashes longer ones too.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(
        Sha256::new()
            .chain_update([0])
            .chain_update(entry)
            .finalize()
            .into(),
    )
}

/// Returns the hash of an inner node: SHA-256 of the byte 1, the left and the right hash (RFC 6962,
/// section 2.1).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 1 + 2 * HASH_BYTES];
    bytes[1..=HASH_BYTES].copy_from_slice(&left.0);
    bytes[1 + HASH_BYTES..].copy_from_slice(&right.0);
    Hash(Sha256::digest(bytes).into())
}

/// Returns the root of a perfect tree over these concatenated hashes, of which there is a power of
/// two. An incomplete hash at the end is ignored.
pub(crate) fn perfect_root(hashes: &[u8]) -> Hash {
    let (hashes, _) = hashes.as_chunks::<HASH_BYTES>();
    let mut level: Vec<Hash> = hashes.iter().copied().map(Hash).collect();
    while level.len() > 1 {
        for at in 0..level.len() / 2 {
            level[at] = node_hash(&level[2 * at], &level[2 * at + 1]);
        }
        level.truncate(level.len() / 2);
    }
    level.first().copied().unwrap_or(EMPTY_ROOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_root_is_the_hash_of_nothing() {
        assert_eq!(EMPTY_ROOT.0, <[u8; 32]>::from(Sha256::digest([])));
    }

    #[test]
    fn hashes_have_the_values_of_rfc_6962_implementations() {
        // The constants of Go's and of transparency-dev's tests.
        assert_eq!(
            format!("{:x}", leaf_hash(b"")),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        assert_eq!(
            format!("{:x}", leaf_hash(b"L123456")),
            "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
        );
    }

    #[test]
    fn a_hash_parses_from_its_display_only() {
        let hash = leaf_hash(b"entry");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        let text = hash.to_string();
        let unpadded = text.trim_end_matches('=');
        for wrong in [
            "",
            "AA==",
            unpadded,
            &format!("{text}\n"),
            &format!(" {text}"),
        ] {
            assert_eq!(wrong.parse::<Hash>(), Err(ParseHashError), "{wrong:?}");
        }
        // Bits after the last byte have to be zero.
        let zero = Hash([0; 32]).to_string();
        assert!(zero.replace("A=", "B=").parse::<Hash>().is_err());
    }
}
