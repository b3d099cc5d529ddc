//! Shared by the layers for received and for sent requests.

mod attributes;
mod host;
mod methods;
mod redaction;

pub(super) use attributes::{
    MAX_VALUE_BYTES, address_text, peer_attributes, protocol_version, truncate,
};
pub(super) use host::bracketed;
pub(crate) use host::without_brackets;
pub(crate) use methods::KnownMethods;
pub(super) use methods::{OTHER, span_name};
pub use redaction::SENSITIVE_QUERY_PARAMETERS;
pub(super) use redaction::{QueryRedaction, REDACTED};
