//! [W3C Trace Context Level 2](https://www.w3.org/TR/trace-context-2/).

use http::HeaderName;
use opentelemetry::propagation::Injector;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

pub(super) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The flags `sampled` and `random`. Unknown flags are not propagated (section 3.2.2.5).
const KNOWN_FLAGS: u8 = 0b11;

/// The maximum number of members of a `tracestate` (section 3.3.1.1).
const MAX_MEMBERS: usize = 32;

/// Parses the only `traceparent`. If it is malformed, `tracestate` is ignored, too; if only
/// `tracestate` is malformed, only that is ignored.
#[inline]
pub(super) fn parse<'a, I: Iterator<Item = Option<&'a str>>>(
    traceparent: &[u8],
    tracestates: impl FnOnce() -> I,
) -> Option<SpanContext> {
    let (trace_id, span_id, flags) = parse_traceparent(traceparent)?;
    let state = parse_tracestate(tracestates()).unwrap_or_default();
    Some(SpanContext::new(trace_id, span_id, flags, true, state))
}

/// Parses `version "-" trace-id "-" parent-id "-" trace-flags`, in lower-case hexadecimal digits.
/// The rest of a later version is ignored.
fn parse_traceparent(mut text: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    let (known, rest) = text.split_first_chunk::<55>()?;
    let [b'-', b'-', b'-'] = [known[2], known[35], known[52]] else {
        return None;
    };
    match hexadecimal(&known[..2])? {
        [0xff] => return None,
        [0] if !rest.is_empty() => return None,
        _ if !rest.is_empty() && rest[0] != b'-' => return None,
        _ => {}
    }
    let trace_id = TraceId::from_bytes(hexadecimal(&known[3..35])?);
    let span_id = SpanId::from_bytes(hexadecimal(&known[36..52])?);
    let [flags] = hexadecimal(&known[53..])?;
    let is_valid = trace_id != TraceId::INVALID && span_id != SpanId::INVALID;
    is_valid.then_some((trace_id, span_id, TraceFlags::new(flags & KNOWN_FLAGS)))
}

/// Decodes lower-case digits only, as the recommendation demands; const-hex accepts both cases.
#[inline]
fn hexadecimal<const BYTES: usize>(digits: &[u8]) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    let mut all_values = 0;
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let [high, low] = pair.map(digit_value);
        all_values |= high | low;
        *byte = high << 4 | low & 0xf;
    }
    (all_values < 16).then_some(bytes)
}

/// The value of a digit; above 15 for any other character. A table would take more instructions.
#[inline]
fn digit_value(digit: u8) -> u8 {
    let number = digit.wrapping_sub(b'0');
    let letter = digit.wrapping_sub(b'a');
    let letter = if letter < 6 { letter + 10 } else { 0xff };
    if number < 10 { number } else { letter }
}

/// The members of all headers, in order. `None` if a member is malformed or repeated, or if there
/// are too many.
fn parse_tracestate<'a>(headers: impl Iterator<Item = Option<&'a str>>) -> Option<TraceState> {
    let mut members: Vec<(&str, &str)> = Vec::new();
    for header in headers {
        for member in header?.split(',').map(trimmed) {
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            let is_new = members.iter().all(|(known, _)| *known != key);
            if !is_key(key) || !is_value(value) || !is_new || members.len() == MAX_MEMBERS {
                return None;
            }
            members.push((key, value));
        }
    }
    if members.is_empty() {
        return Some(TraceState::NONE);
    }
    // The SDK's type rejects some keys that the grammar allows; only those are dropped.
    let to_state = |members: &[(&str, &str)]| TraceState::from_key_value(members.iter().copied());
    to_state(&members)
        .or_else(|_| {
            members.retain(|member| to_state(&[*member]).is_ok());
            to_state(&members)
        })
        .ok()
}

fn is_key(text: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|first| is_first(*first))
        && bytes.len() <= 256
        && bytes
            .iter()
            .all(|byte| is_first(*byte) || b"_-*/@".contains(byte))
}

/// Printable ASCII without `,` and `=`. It cannot end with a space, as the member was trimmed.
fn is_value(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=')
}

/// Without optional whitespace (RFC 9110, 5.6.3).
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

pub(super) fn inject(span: &SpanContext, injector: &mut dyn Injector) {
    if !span.is_valid() {
        return;
    }
    let (trace_id, span_id) = (span.trace_id(), span.span_id());
    let flags = span.trace_flags().to_u8() & KNOWN_FLAGS;
    injector.set(
        TRACEPARENT.as_str(),
        format!("00-{trace_id:032x}-{span_id:016x}-{flags:02x}"),
    );
    let state = span.trace_state().header();
    if !state.is_empty() {
        injector.set(TRACESTATE.as_str(), state);
    }
}
