//! Takes a trace through NATS messages, by OpenTelemetry's semantic conventions for messaging.
//!
//! The sender makes a [`producer_span`] and writes its context into the message's headers with
//! [`inject`]; the receiver reads it with [`extract`] and makes a [`consumer_span`], which is linked
//! to the sender's, as a message may be handled long after, more than once, or in a batch.
//! [`consumer_child_span`] continues the sender's trace instead.
//!
//! [`send`], [`process`] and [`process_child`] do so around a future, and measure it too.
//!
//! Headers are any [`Headers`]: `http`'s, and with the feature `nats` those of `async-nats`. Which
//! of them carry the context, `OTEL_PROPAGATORS` says, by default `traceparent`, `tracestate` and
//! `baggage`. [`Telemetry::init`](crate::Telemetry::init) sets that up; without it nothing is
//! written or read. Whoever may publish to a subject chooses what is read, so treat baggage as what
//! any client says. Neither payloads nor headers are recorded.
//!
//! # Examples
//!
#![cfg_attr(feature = "nats", doc = "```")]
#![cfg_attr(not(feature = "nats"), doc = "```text")]
//! use async_nats::{Client, HeaderMap, Message};
//! use platform_observability::messaging::{self, Destination};
//! use tracing::Instrument;
//!
//! async fn book(client: &Client, entry: u64) -> Result<(), async_nats::PublishError> {
//!     let subject = format!("entries.{entry}.booked");
//!     let destination = Destination::new(&subject).template("entries.{id}.booked");
//!     let span = messaging::producer_span(destination);
//!     let mut headers = HeaderMap::new();
//!     span.in_scope(|| messaging::inject(&mut headers));
//!     let sent = client.publish_with_headers(subject, headers, "".into());
//!     let sent = sent.instrument(span.clone()).await;
//!     if sent.is_err() {
//!         messaging::failed(&span, "async_nats::PublishError");
//!     }
//!     sent
//! }
//!
//! async fn handle(message: Message) {
//!     let producer = message.headers.as_ref().map(messaging::extract).unwrap_or_default();
//!     let destination = Destination::new(&message.subject).template("entries.{id}.booked");
//!     let span = messaging::consumer_span(destination, &producer);
//!     async { tracing::info!("booked") }.instrument(span).await;
//! }
//! ```

mod measured;

use std::borrow::Cow;

use opentelemetry::KeyValue;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::{Status, TraceContextExt};
use opentelemetry::{Context, global};
use tracing::Span;
use tracing_opentelemetry::{OpenTelemetrySpanExt, SetParentError};

use crate::propagation;

pub(crate) use measured::Instruments;
pub use measured::{process, process_child, send};
#[cfg(test)]
pub(crate) use measured::{process_by, send_by};

/// The target of the messages' spans.
pub(crate) const SPAN: &str = "platform_observability::messaging";

/// Where subjects for one answer begin, unless a client sets another prefix.
const INBOX: &str = "_INBOX.";

/// A message's headers.
pub trait Headers {
    /// The values of the header with this name; in any case of letters, as clients in other
    /// languages may write `Traceparent`. Without those that are no text.
    fn get_all(&self, name: &str) -> Vec<&str>;

    /// The names of all headers.
    fn names(&self) -> Vec<&str>;

    /// Replaces the values of a header. What cannot be a header is left out.
    fn set(&mut self, name: &str, value: &str);

    /// Takes a header away, in any case of letters.
    fn remove(&mut self, name: &str);
}

impl Headers for http::HeaderMap {
    fn get_all(&self, name: &str) -> Vec<&str> {
        let values = http::HeaderMap::get_all(self, name).iter();
        values.filter_map(|value| value.to_str().ok()).collect()
    }

    fn names(&self) -> Vec<&str> {
        self.keys().map(http::HeaderName::as_str).collect()
    }

    fn set(&mut self, name: &str, value: &str) {
        if let (Ok(name), Ok(value)) = (
            http::HeaderName::from_bytes(name.as_bytes()),
            http::HeaderValue::from_str(value),
        ) {
            self.insert(name, value);
        }
    }

    fn remove(&mut self, name: &str) {
        http::HeaderMap::remove(self, name);
    }
}

#[cfg(feature = "nats")]
impl Headers for async_nats::HeaderMap {
    fn get_all(&self, name: &str) -> Vec<&str> {
        // Not its own `get_all`, which panics on what is no name; and exactly first, as a message
        // that was forwarded may have both.
        let find =
            |is: fn(&str, &str) -> bool| self.iter().find(|(known, _)| is(text(known), name));
        let found = find(|a, b| a == b).or_else(|| find(str::eq_ignore_ascii_case));
        let values = found.into_iter().flat_map(|(_, values)| values);
        values.map(async_nats::HeaderValue::as_str).collect()
    }

    fn names(&self) -> Vec<&str> {
        self.iter().map(|(name, _)| text(name)).collect()
    }

    fn set(&mut self, name: &str, value: &str) {
        // It takes an empty name, and its `insert` panics on text that is no name or value.
        if name.is_empty() {
            return;
        }
        if let (Ok(name), Ok(value)) = (
            name.parse::<async_nats::HeaderName>(),
            value.parse::<async_nats::HeaderValue>(),
        ) {
            self.insert(name, value);
        }
    }

    fn remove(&mut self, name: &str) {
        // It has no `remove` of its own.
        let all = std::mem::take(self);
        for (known, values) in all.iter() {
            if !text(known).eq_ignore_ascii_case(name) {
                for value in values {
                    self.append(known.clone(), value.clone());
                }
            }
        }
    }
}

#[cfg(feature = "nats")]
fn text(name: &async_nats::HeaderName) -> &str {
    name.as_ref()
}

/// Writes the context of the current span, and the baggage, into a message's headers, instead of
/// what they say of another span.
pub fn inject<H: Headers>(headers: &mut H) {
    let context = Context::current();
    global::get_text_map_propagator(|propagator| {
        if propagation::replaces_state(propagator, &context) {
            headers.remove(propagation::TRACESTATE.as_str());
        }
        propagator.inject_context(&context, &mut Carrier(&mut *headers));
    });
}

/// Reads what [`inject`] wrote. Without it, or if it is malformed, the context has no span.
#[must_use]
pub fn extract<H: Headers>(headers: &H) -> Context {
    global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &Carrier(headers))
    })
}

struct Carrier<H>(H);

impl<H: Headers> Injector for Carrier<&mut H> {
    fn set(&mut self, key: &str, value: String) {
        self.0.set(key, &value);
    }
}

impl<H: Headers> Extractor for Carrier<&H> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get_all(key).first().copied()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        Some(self.0.get_all(key))
    }

    fn keys(&self) -> Vec<&str> {
        self.0.names()
    }
}

/// Where a message goes, or comes from: a NATS subject.
#[derive(Clone, Copy, Debug)]
#[must_use = "it names a span"]
pub struct Destination<'a> {
    name: &'a str,
    template: Option<&'a str>,
    temporary: bool,
    server: Option<(&'a str, u16)>,
    group: Option<&'a str>,
}

impl<'a> Destination<'a> {
    /// The subject, such as `entries.booked`. It is part of the span's name, unless it is an inbox
    /// (`_INBOX.…`); if parts of it vary, set a [template](Self::template).
    pub fn new(subject: &'a str) -> Self {
        Self {
            name: subject,
            template: None,
            temporary: subject.starts_with(INBOX),
            server: None,
            group: None,
        }
    }

    /// The pattern of such subjects, such as `entries.{id}.booked`, for the span's name.
    pub fn template(mut self, template: &'a str) -> Self {
        self.template = Some(template);
        self
    }

    /// It lives only as long as somebody waits, as an inbox does, and names no span.
    pub fn temporary(mut self) -> Self {
        self.temporary = true;
        self
    }

    /// The server, `server.address` and `server.port`: the client does not tell.
    pub fn server(mut self, address: &'a str, port: u16) -> Self {
        self.server = Some((address, port));
        self
    }

    /// The queue group that receives, `messaging.consumer.group.name`.
    pub fn consumer_group(mut self, name: &'a str) -> Self {
        self.group = Some(name);
        self
    }

    /// `{operation name} {destination}`, if the destination is one of few.
    fn span_name(&self, operation: &str) -> String {
        let low = if self.temporary {
            None
        } else {
            Some(self.name)
        };
        match self.template.or(low) {
            Some(destination) => format!("{operation} {destination}"),
            None => operation.to_owned(),
        }
    }

    /// What of it is one of few, for metrics.
    fn few(&self) -> impl Iterator<Item = KeyValue> {
        let destination = match self.template {
            Some(template) => {
                let template = template.to_owned();
                Some(KeyValue::new("messaging.destination.template", template))
            }
            None if self.temporary => None,
            None => Some(KeyValue::new(
                "messaging.destination.name",
                self.name.to_owned(),
            )),
        };
        destination.into_iter().chain(self.whereabouts())
    }

    fn whereabouts(&self) -> impl Iterator<Item = KeyValue> {
        let server = self.server.map(|(address, port)| {
            [
                KeyValue::new("server.address", address.to_owned()),
                KeyValue::new("server.port", i64::from(port)),
            ]
        });
        let group = self.group.map(str::to_owned);
        let group = group.map(|name| KeyValue::new("messaging.consumer.group.name", name));
        server.into_iter().flatten().chain(group)
    }

    fn describe(&self, span: &Span, operation: &'static str) {
        span.set_attribute("messaging.system", "nats");
        span.set_attribute("messaging.operation.name", operation);
        span.set_attribute("messaging.operation.type", operation);
        span.set_attribute("messaging.destination.name", self.name.to_owned());
        if let Some(template) = self.template {
            span.set_attribute("messaging.destination.template", template.to_owned());
        }
        if self.temporary {
            span.set_attribute("messaging.destination.temporary", true);
        }
        for KeyValue { key, value, .. } in self.whereabouts() {
            span.set_attribute(key, value);
        }
    }
}

impl<'a> From<&'a str> for Destination<'a> {
    fn from(subject: &'a str) -> Self {
        Self::new(subject)
    }
}

/// The span of sending a message, `send {destination}`, below the current one. [`inject`] inside it.
#[must_use = "it ends when it is dropped"]
pub fn producer_span<'a>(destination: impl Into<Destination<'a>>) -> Span {
    let destination = destination.into();
    let span = tracing::info_span!(
        target: SPAN,
        "send",
        otel.name = destination.span_name("send"),
        otel.kind = "producer",
    );
    destination.describe(&span, "send");
    span
}

/// The span of handling a message, `process {destination}`, below the current one if there is one,
/// else in a trace of its own, and linked to the producer's, which [`extract`] read.
#[must_use = "it ends when it is dropped"]
pub fn consumer_span<'a>(destination: impl Into<Destination<'a>>, producer: &Context) -> Span {
    let span = processing(destination.into());
    // One that is invalid is left out.
    span.add_link(producer.span().span_context().clone());
    span
}

/// As [`consumer_span`], but below the producer's span and with its baggage, in its trace: for one
/// message that is handled once and at once. Without a producer's span it begins a trace.
#[must_use = "it ends when it is dropped"]
pub fn consumer_child_span<'a>(
    destination: impl Into<Destination<'a>>,
    producer: &Context,
) -> Span {
    let (span, _) = child(destination.into(), producer);
    span
}

/// Without an OpenTelemetry layer, or where the span is off, it has no parent.
fn child(destination: Destination<'_>, producer: &Context) -> (Span, Result<(), SetParentError>) {
    let span = processing(destination);
    let set = span.set_parent(producer.clone());
    (span, set)
}

fn processing(destination: Destination<'_>) -> Span {
    let span = tracing::info_span!(
        target: SPAN,
        "process",
        otel.name = destination.span_name("process"),
        otel.kind = "consumer",
    );
    destination.describe(&span, "process");
    span
}

/// Marks a message's span as failed. `error_type` is one of few, such as the name of the error's
/// type or `timeout`, and holds no data.
pub fn failed(span: &Span, error_type: impl Into<Cow<'static, str>>) {
    span.set_attribute("error.type", error_type.into());
    // The error's type says all: by the conventions, no description then.
    span.set_status(Status::error(""));
}

#[cfg(test)]
mod tests;
