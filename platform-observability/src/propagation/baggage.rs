//! [W3C Baggage](https://www.w3.org/TR/baggage/).

use http::HeaderName;
use opentelemetry::Context;
use opentelemetry::baggage::{BaggageExt, KeyValueMetadata};
use opentelemetry::propagation::Injector;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::trace_context::trimmed;

pub(super) static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// The limits: the minimum that section 3.3.2 requires a propagator to support.
const MAX_MEMBERS: usize = 64;
const MAX_BYTES: usize = 8192;

/// The characters of a value that are percent-encoded.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b',')
    .add(b';')
    .add(b'\\')
    .add(b'%');

/// The members of all headers, in order. Members that are malformed or exceed the limits are
/// ignored, and not logged, as they may contain personal data.
pub(super) fn parse<'a>(headers: impl Iterator<Item = Option<&'a str>>) -> Vec<KeyValueMetadata> {
    let mut members = Vec::new();
    let mut bytes = 0;
    for member in headers.flatten().flat_map(|header| header.split(',')) {
        let member = trimmed(member);
        // Including the preceding comma.
        let total = bytes + usize::from(bytes > 0) + member.len();
        if member.is_empty() || total > MAX_BYTES || members.len() == MAX_MEMBERS {
            continue;
        }
        if let Some(member) = parse_member(member) {
            members.push(member);
            bytes = total;
        }
    }
    members
}

/// `key "=" value *( ";" property )`
fn parse_member(member: &str) -> Option<KeyValueMetadata> {
    let (pair, properties) = member.split_once(';').unwrap_or((member, ""));
    let (key, value) = pair.split_once('=')?;
    let (key, value) = (trimmed(key), trimmed(value));
    if !is_token(key) || !value.bytes().all(is_baggage_octet) {
        return None;
    }
    // Bytes that are not UTF-8 become U+FFFD (section 3.3.1.3).
    let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
    Some(KeyValueMetadata::new(
        key.to_owned(),
        value,
        valid_properties(properties).as_str(),
    ))
}

/// The properties that have the form `key` or `key "=" value`, without whitespace.
fn valid_properties(properties: &str) -> String {
    let mut kept = String::new();
    for property in properties.split(';') {
        let (key, value) = match property.split_once('=') {
            Some((key, value)) => (key, Some(trimmed(value))),
            None => (property, None),
        };
        let key = trimmed(key);
        if !is_token(key) || !value.unwrap_or_default().bytes().all(is_baggage_octet) {
            continue;
        }
        if !kept.is_empty() {
            kept.push(';');
        }
        kept.push_str(key);
        if let Some(value) = value {
            kept.push('=');
            kept.push_str(value);
        }
    }
    kept
}

/// `token` (RFC 9110, 5.6.2).
fn is_token(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token)
}

/// `baggage-octet`: printable ASCII without space, `"`, `,`, `;` and `\`.
fn is_baggage_octet(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}

pub(super) fn inject(context: &Context, injector: &mut dyn Injector) {
    let baggage = context.baggage();
    if baggage.is_empty() {
        return;
    }
    let mut text = String::new();
    for (count, (key, (value, properties))) in baggage.iter().enumerate() {
        let value = utf8_percent_encode(value.as_str(), ENCODED);
        let mut member = format!("{key}={value}");
        let properties = valid_properties(properties.as_str());
        if !properties.is_empty() {
            member.push(';');
            member.push_str(&properties);
        }
        let total = text.len() + usize::from(!text.is_empty()) + member.len();
        if total > MAX_BYTES || count == MAX_MEMBERS || !is_token(key.as_str()) {
            continue;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&member);
    }
    if !text.is_empty() {
        injector.set(BAGGAGE.as_str(), text);
    }
}
