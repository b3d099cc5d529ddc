use thiserror::Error;

use super::TILE_WIDTH;

/// The longest entry of a bundle in bytes, as its length takes two.
pub const MAX_ENTRY_BYTES: usize = u16::MAX as usize;

/// The longest bundle in bytes.
pub const MAX_BUNDLE_BYTES: usize = TILE_WIDTH as usize * (2 + MAX_ENTRY_BYTES);

/// Returns the entry bundle of 1 to 256 entries: each after its length as two big-endian bytes
/// (C2SP tlog-tiles, “Log entries”).
///
/// ```
/// use platform_audit_tlog::tile::{decode_bundle, encode_bundle};
///
/// let bundle = encode_bundle(["a", "bc"])?;
/// assert_eq!(bundle, b"\0\x01a\0\x02bc");
/// assert_eq!(decode_bundle(&bundle, 2)?, [b"a".as_slice(), b"bc"]);
/// # Ok::<(), platform_audit_tlog::tile::BundleError>(())
/// ```
///
/// # Errors
///
/// There is no entry or more than 256, or an entry exceeds [`MAX_ENTRY_BYTES`].
pub fn encode_bundle<I>(entries: I) -> Result<Vec<u8>, BundleError>
where
    I: IntoIterator<Item: AsRef<[u8]>>,
{
    let mut bundle = Vec::new();
    let mut count = 0;
    for entry in entries {
        if count == TILE_WIDTH {
            return Err(BundleError::TooMany);
        }
        let entry = entry.as_ref();
        let length = u16::try_from(entry.len()).map_err(|_| BundleError::TooLong {
            entry: count,
            length: entry.len(),
        })?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
        count += 1;
    }
    match count {
        0 => Err(BundleError::Count {
            expected: 1,
            actual: 0,
        }),
        _ => Ok(bundle),
    }
}

/// Returns the entries of a bundle of this width (1 to 256 entries).
///
/// Pass the width of the identifier that the bundle was requested with, or 256 if a full bundle was
/// served instead.
///
/// # Errors
///
/// The bytes end within an entry, or contain more or fewer entries than `width`.
pub fn decode_bundle(bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::with_capacity(usize::from(width.min(TILE_WIDTH)));
    let mut rest = bundle;
    while !rest.is_empty() {
        if entries.len() == usize::from(width) {
            return Err(BundleError::Trailing { expected: width });
        }
        let (entry, after) = rest
            .split_first_chunk()
            .and_then(|(length, after)| after.split_at_checked(u16::from_be_bytes(*length).into()))
            .ok_or(BundleError::Truncated {
                entry: entries.len(),
            })?;
        entries.push(entry);
        rest = after;
    }
    match entries.len() == usize::from(width) && width != 0 {
        true => Ok(entries),
        false => Err(BundleError::Count {
            expected: width.max(1),
            actual: entries.len(),
        }),
    }
}

/// Entries cannot be encoded as a bundle, or bytes are not a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// There are more than 256 entries.
    #[error("a bundle has at most 256 entries: start the next one")]
    TooMany,
    /// An entry exceeds [`MAX_ENTRY_BYTES`].
    #[error("entry {entry} of the bundle has {length} bytes: an entry has at most 65535")]
    TooLong {
        /// The number of the entry in the bundle, from 0.
        entry: u16,
        /// Its length in bytes.
        length: usize,
    },
    /// The bundle ends within an entry.
    #[error("the bundle ends within entry {entry}: fetch it again")]
    Truncated {
        /// The number of the entry in the bundle, from 0.
        entry: usize,
    },
    /// More bytes follow the last expected entry.
    #[error(
        "the bundle continues after its {expected} entries: it is of another width, or damaged"
    )]
    Trailing {
        /// The number of entries that were expected.
        expected: u16,
    },
    /// The bundle has too few entries.
    #[error("the bundle has {actual} entries instead of {expected}")]
    Count {
        /// The number of entries that were expected.
        expected: u16,
        /// The number of entries that it has.
        actual: usize,
    },
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_are_those_of_the_format() {
        assert!(encode_bundle([""; 256]).is_ok());
        assert_eq!(encode_bundle([""; 257]), Err(BundleError::TooMany));
        assert!(encode_bundle([""; 0]).is_err());
        let long = vec![7; MAX_ENTRY_BYTES + 1];
        assert!(encode_bundle([&long]).is_err());
        let bundle = encode_bundle([&long[1..]]).unwrap();
        assert_eq!(decode_bundle(&bundle, 1), Ok(vec![&long[1..]]));
        assert!(decode_bundle(&[], 0).is_err());
        assert!(decode_bundle(&[], 1).is_err());
        assert!(decode_bundle(&[0, 0], u16::MAX).is_err());
    }

    proptest! {
        #[test]
        fn bundles_contain_what_was_encoded(entries in vec(vec(any::<u8>(), 0..80), 1..=256)) {
            let bundle = encode_bundle(&entries).unwrap();
            let width = entries.len() as u16;
            prop_assert_eq!(decode_bundle(&bundle, width).unwrap(), entries);
            let trailing = BundleError::Trailing { expected: width - 1 };
            prop_assert_eq!(decode_bundle(&bundle, width - 1), Err(trailing));
            prop_assert!(decode_bundle(&bundle, width + 1).is_err());
            prop_assert!(decode_bundle(&bundle[..bundle.len() - 1], width).is_err());
        }

        #[test]
        fn bytes_that_decode_are_encoded_to_the_same(bytes in vec(0..4_u8, 0..60), width in 0..30_u16) {
            if let Ok(entries) = decode_bundle(&bytes, width) {
                prop_assert_eq!(encode_bundle(entries).unwrap(), bytes);
            }
        }
    }
}
