//! Traces through NATS messages, by OpenTelemetry's semantic conventions for messaging.
//!
//! The sender creates a [`producer_span`] and writes its context into the message's headers with
//! [`inject`]. The receiver reads the context with [`extract`] and creates a [`consumer_span`].
//! This is linked to the sender's, as a message may be processed much later, more than once, or in
//! a batch. [`consumer_child_span`] continues the sender's trace instead.
//!
//! [`send`], [`process`] and [`process_child`] do this around a future, and record its duration.
//!
//! The trait [`MessageHeaders`] is implemented for the headers of `http` and, with the feature
//! `nats`, of `async-nats`. `OTEL_PROPAGATORS` selects those that contain the context, by default
//! `traceparent`, `tracestate` and `baggage`. [`Telemetry::init`](crate::Telemetry::init) installs
//! the propagator; without it, nothing is written or read. Every publisher of a subject
//! controls the context, so treat baggage as untrusted input. Neither payloads nor headers are
//! recorded.
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
//!         messaging::record_error(&span, "async_nats::PublishError");
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

mod destination;
mod headers;
mod operation;
mod spans;
#[cfg(test)]
mod tests;

pub use destination::Destination;
pub use headers::{MessageHeaders, extract, inject};
pub(crate) use operation::Instruments;
pub use operation::{process, process_child, send};
#[cfg(test)]
pub(crate) use operation::{process_with, send_with};
pub(crate) use spans::MESSAGING_TARGET;
pub use spans::{consumer_child_span, consumer_span, producer_span, record_error};
