//! The timestamped signatures of C2SP tlog-cosignature with Ed25519.

/// The latest time, in seconds since 1970, that a cosignature may have.
pub(crate) const MAX_TIMESTAMP: u64 = i64::MAX as u64;

/// Returns the bytes that a cosigner signs (“Ed25519 signed message”).
pub(crate) fn message(text: &str, timestamp: u64) -> String {
    format!("cosignature/v1\ntime {timestamp}\n{text}")
}

pub(super) fn join(timestamp: u64, signature: &[u8; 64]) -> Vec<u8> {
    [&timestamp.to_be_bytes()[..], signature].concat()
}

pub(super) fn split(bytes: &[u8]) -> Option<(u64, &[u8; 64])> {
    let (timestamp, signature) = bytes.split_first_chunk()?;
    let timestamp = u64::from_be_bytes(*timestamp);
    (timestamp <= MAX_TIMESTAMP).then_some((timestamp, signature.try_into().ok()?))
}
