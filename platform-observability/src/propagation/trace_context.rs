//! [W3C Trace Context Level 2](https://www.w3.org/TR/trace-context-2/).

use http::HeaderName;
use opentelemetry::propagation::Injector;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

pub(super) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Sampled and random: the flags that are known. Others are not passed on (section 3.2.2.5).
const KNOWN_FLAGS: u8 = 0b11;

/// How many members a `tracestate` may have (section 3.3.1.1).
const MEMBERS: usize = 32;

/// The caller's span, as its headers tell it.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) flags: TraceFlags,
    pub(crate) state: TraceState,
}

impl From<Caller> for SpanContext {
    fn from(caller: Caller) -> Self {
        let Caller {
            trace_id,
            span_id,
            flags,
            state,
        } = caller;
        Self::new(trace_id, span_id, flags, true, state)
    }
}

/// The caller's span, by the only `traceparent` there is. If it is malformed there is none, and
/// its `tracestate` means nothing; a malformed `tracestate` alone is left out.
#[inline]
pub(super) fn read<'a, I: Iterator<Item = Option<&'a str>>>(
    traceparent: &[u8],
    tracestates: impl FnOnce() -> I,
) -> Option<Caller> {
    let (trace_id, span_id, flags) = parent(traceparent)?;
    Some(Caller {
        trace_id,
        span_id,
        flags,
        state: state(tracestates()).unwrap_or_default(),
    })
}

/// `version "-" trace-id "-" parent-id "-" trace-flags`, in lower-case hexadecimal digits; what
/// follows in a later version is not read.
fn parent(mut text: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    let (known, later) = text.split_first_chunk::<55>()?;
    let [b'-', b'-', b'-'] = [known[2], known[35], known[52]] else {
        return None;
    };
    match hexadecimal(&known[..2])? {
        [0xff] => return None,
        [0] if !later.is_empty() => return None,
        _ if !later.is_empty() && later[0] != b'-' => return None,
        _ => {}
    }
    let trace_id = TraceId::from_bytes(hexadecimal(&known[3..35])?);
    let span_id = SpanId::from_bytes(hexadecimal(&known[36..52])?);
    let [flags] = hexadecimal(&known[53..])?;
    let is_valid = trace_id != TraceId::INVALID && span_id != SpanId::INVALID;
    is_valid.then_some((trace_id, span_id, TraceFlags::new(flags & KNOWN_FLAGS)))
}

#[inline]
fn hexadecimal<const BYTES: usize>(digits: &[u8]) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    let mut seen = 0;
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let [high, low] = pair.map(value);
        seen |= high | low;
        *byte = high << 4 | low & 0xf;
    }
    (seen < 16).then_some(bytes)
}

/// Of a digit; that of anything else is above 15. A table would take more instructions.
#[inline]
fn value(digit: u8) -> u8 {
    let number = digit.wrapping_sub(b'0');
    let letter = digit.wrapping_sub(b'a');
    let letter = if letter < 6 { letter + 10 } else { 0xff };
    if number < 10 { number } else { letter }
}

/// The members of all headers, in order; none if one of them is malformed or there twice, or if
/// there are too many.
fn state<'a>(headers: impl Iterator<Item = Option<&'a str>>) -> Option<TraceState> {
    let mut members: Vec<(&str, &str)> = Vec::new();
    for header in headers {
        for member in header?.split(',').map(trimmed) {
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            let is_new = members.iter().all(|(known, _)| *known != key);
            if !is_key(key) || !is_value(value) || !is_new || members.len() == MEMBERS {
                return None;
            }
            members.push((key, value));
        }
    }
    if members.is_empty() {
        return Some(TraceState::NONE);
    }
    // The SDK's type holds fewer keys than the grammar knows; only those are left out.
    let of = |members: &[(&str, &str)]| TraceState::from_key_value(members.iter().copied());
    of(&members)
        .or_else(|_| {
            members.retain(|member| of(&[*member]).is_ok());
            of(&members)
        })
        .ok()
}

fn is_key(text: &str) -> bool {
    let is_first = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|first| is_first(*first))
        && bytes.len() <= 256
        && bytes
            .iter()
            .all(|it| is_first(*it) || b"_-*/@".contains(it))
}

/// Printable ASCII but `,` and `=`; the last is no space, as the member was trimmed.
fn is_value(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text
            .bytes()
            .all(|it| matches!(it, b' '..=b'~') && it != b',' && it != b'=')
}

/// Without what HTTP calls optional white space.
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

pub(super) fn write(span: &SpanContext, injector: &mut dyn Injector) {
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
