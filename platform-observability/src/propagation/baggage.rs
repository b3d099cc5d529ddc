//! [W3C Baggage](https://www.w3.org/TR/baggage/).

use http::HeaderName;
use opentelemetry::Context;
use opentelemetry::baggage::{BaggageExt, KeyValueMetadata};
use opentelemetry::propagation::Injector;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

pub(super) static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// What is passed on at least and, here, at most (section 3.3.2).
const MEMBERS: usize = 64;
const BYTES: usize = 8192;

/// What a value cannot hold as it is.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b',')
    .add(b';')
    .add(b'\\')
    .add(b'%');

/// The members of all headers, in order, as far as they are well-formed and within the limits.
/// Nothing of what is left out is logged, as it may be anybody's data.
pub(super) fn read<'a>(headers: impl Iterator<Item = Option<&'a str>>) -> Vec<KeyValueMetadata> {
    let mut members = Vec::new();
    let mut bytes = 0;
    for member in headers.flatten().flat_map(|header| header.split(',')) {
        let member = member.trim_matches([' ', '\t']);
        // With the comma before it.
        let longer = bytes + usize::from(bytes > 0) + member.len();
        if member.is_empty() || longer > BYTES || members.len() == MEMBERS {
            continue;
        }
        if let Some(member) = parsed(member) {
            members.push(member);
            bytes = longer;
        }
    }
    members
}

/// `key "=" value *( ";" property )`
fn parsed(member: &str) -> Option<KeyValueMetadata> {
    let (pair, properties) = match member.split_once(';') {
        Some((pair, properties)) => (pair, properties),
        None => (member, ""),
    };
    let (key, value) = pair.split_once('=')?;
    let (key, value) = (
        key.trim_matches([' ', '\t']),
        value.trim_matches([' ', '\t']),
    );
    if !is_token(key) || !value.bytes().all(is_octet) {
        return None;
    }
    // What is not UTF-8 becomes U+FFFD (section 3.3.1.3).
    let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
    Some(KeyValueMetadata::new(
        key.to_owned(),
        value,
        well_formed(properties).as_str(),
    ))
}

/// Those of the properties that are `key` or `key "=" value`, without white space.
fn well_formed(properties: &str) -> String {
    let mut kept = String::new();
    for property in properties.split(';') {
        let (key, value) = match property.split_once('=') {
            Some((key, value)) => (key, Some(value.trim_matches([' ', '\t']))),
            None => (property, None),
        };
        let key = key.trim_matches([' ', '\t']);
        if !is_token(key) || !value.unwrap_or_default().bytes().all(is_octet) {
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

/// RFC 9110's `token`.
fn is_token(text: &str) -> bool {
    let is_token = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
    !text.is_empty() && text.bytes().all(is_token)
}

/// `baggage-octet`: printable ASCII but space, `"`, `,`, `;` and `\`.
fn is_octet(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}

pub(super) fn write(context: &Context, injector: &mut dyn Injector) {
    let baggage = context.baggage();
    if baggage.is_empty() {
        return;
    }
    let mut text = String::new();
    for (count, (key, (value, properties))) in baggage.iter().enumerate() {
        let value = utf8_percent_encode(value.as_str(), ENCODED);
        let mut member = format!("{key}={value}");
        let properties = well_formed(properties.as_str());
        if !properties.is_empty() {
            member.push(';');
            member.push_str(&properties);
        }
        let longer = text.len() + usize::from(!text.is_empty()) + member.len();
        if longer > BYTES || count == MEMBERS || !is_token(key.as_str()) {
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
