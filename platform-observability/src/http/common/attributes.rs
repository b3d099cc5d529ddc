use std::net::IpAddr;
use std::sync::Arc;

use http::Version;
use opentelemetry::KeyValue;
use opentelemetry_semantic_conventions::attribute as attr;

/// The maximum length, in bytes, of an attribute that a client controls. It bounds the memory of
/// a full queue of spans.
pub(crate) const MAX_VALUE_BYTES: usize = 4096;

/// Truncates `text` to [`MAX_VALUE_BYTES`].
pub(crate) fn truncate(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_VALUE_BYTES)]
}

/// The attributes of the connection's remote end.
pub(crate) fn peer_attributes(address: Arc<str>, port: u16) -> [KeyValue; 2] {
    [
        KeyValue::new(attr::NETWORK_PEER_ADDRESS, address),
        KeyValue::new(attr::NETWORK_PEER_PORT, i64::from(port)),
    ]
}

/// An address as text, in which IPv4-mapped IPv6, as dual-stack listeners report it, is IPv4.
pub(crate) fn address_text(address: IpAddr) -> Arc<str> {
    Arc::from(address.to_canonical().to_string())
}

/// The value of `network.protocol.version`.
pub(crate) fn protocol_version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_09 => Some("0.9"),
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        Version::HTTP_3 => Some("3"),
        _ => None,
    }
}
