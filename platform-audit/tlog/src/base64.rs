//! Base 64 as C2SP's formats use it: RFC 4648, section 4, padded and canonical.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Returns the decoded bytes, or `None` if the text is not the canonical encoding of any bytes, so
/// that every decoded text encodes to itself again.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Decodes exactly `N` bytes into a buffer of the caller, which may be one that is zeroed on drop.
pub(crate) fn decode_into<const N: usize>(text: &str, buffer: &mut [u8; N]) -> Option<()> {
    (STANDARD.decode_slice(text, buffer).ok()? == N).then_some(())
}
