//! Sending and processing, measured.

use std::sync::OnceLock;
use std::time::Instant;

use opentelemetry::context::FutureExt;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::{Context, KeyValue, global};
use tracing::{Instrument, Span};

use super::{Destination, Headers, child, consumer_span, failed, inject, producer_span};
use crate::telemetry::SCOPE;

static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();

#[derive(Clone, Debug)]
pub(crate) struct Instruments {
    sent: Counter<u64>,
    operation: Histogram<f64>,
    process: Histogram<f64>,
}

impl Instruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        let duration = |name: &'static str, description: &'static str| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(description)
                // The boundaries that the conventions advise.
                .with_boundaries(vec![
                    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
                ])
                .build()
        };
        Self {
            sent: meter
                .u64_counter("messaging.client.sent.messages")
                .with_unit("{message}")
                .with_description("Messages that were attempted to be sent.")
                .build(),
            operation: duration(
                "messaging.client.operation.duration",
                "Duration of sending a message.",
            ),
            process: duration(
                "messaging.process.duration",
                "Duration of processing a message.",
            ),
        }
    }

    /// Makes those of `meter` the process's own.
    pub(crate) fn install(meter: &Meter) {
        // The first stays; there is one telemetry a process.
        let _ = INSTRUMENTS.set(Self::new(meter));
    }

    /// The process's own, or, where a service set OpenTelemetry up by itself, new ones.
    fn installed() -> Self {
        let installed = INSTRUMENTS.get().cloned();
        installed.unwrap_or_else(|| Self::new(&global::meter(SCOPE)))
    }
}

/// Sends a message by `send`, which gets `headers` with the context in them, inside a
/// [`producer_span`](super::producer_span). Its duration goes to `messaging.client.operation.duration`, and
/// `messaging.client.sent.messages` counts it.
///
/// # Errors
///
/// Those of `send`; the `error.type` is then the name of the error's Rust type. Where the future is
/// dropped before its end, it is `cancelled`.
///
/// # Examples
///
#[cfg_attr(feature = "nats", doc = "```")]
#[cfg_attr(not(feature = "nats"), doc = "```text")]
/// use async_nats::{Client, HeaderMap, PublishError};
/// use platform_observability::messaging;
///
/// async fn book(client: &Client) -> Result<(), PublishError> {
///     messaging::send("entries.booked", HeaderMap::new(), |headers| {
///         client.publish_with_headers("entries.booked", headers, "".into())
///     })
///     .await
/// }
/// ```
pub async fn send<'a, H, F, T, E>(
    destination: impl Into<Destination<'a>>,
    headers: H,
    send: impl FnOnce(H) -> F,
) -> Result<T, E>
where
    H: Headers,
    F: Future<Output = Result<T, E>>,
{
    send_by(&Instruments::installed(), destination.into(), headers, send).await
}

pub(crate) async fn send_by<H, F, T, E>(
    instruments: &Instruments,
    destination: Destination<'_>,
    mut headers: H,
    send: impl FnOnce(H) -> F,
) -> Result<T, E>
where
    H: Headers,
    F: Future<Output = Result<T, E>>,
{
    let span = producer_span(destination);
    let measured = Measured::start(instruments, destination, "send", span.clone());
    span.in_scope(|| inject(&mut headers));
    let sending = span.in_scope(|| send(headers));
    measured.end(sending.instrument(span).await)
}

/// Processes a message inside a [`consumer_span`](super::consumer_span), which is linked to the
/// producer's. Its duration goes to `messaging.process.duration`.
///
/// # Errors
///
/// Those of `processing`; the `error.type` is then the name of the error's Rust type. Where the
/// future is dropped before its end, it is `cancelled`, and after a panic `panic`.
pub async fn process<'a, T, E>(
    destination: impl Into<Destination<'a>>,
    producer: &Context,
    processing: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let destination = destination.into();
    let span = consumer_span(destination, producer);
    process_by(&Instruments::installed(), destination, span, processing).await
}

/// As [`process`], but inside a [`consumer_child_span`](super::consumer_child_span), which
/// continues the producer's trace.
///
/// # Errors
///
/// As [`process`].
pub async fn process_child<'a, T, E>(
    destination: impl Into<Destination<'a>>,
    producer: &Context,
    processing: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let destination = destination.into();
    let (span, set) = child(destination, producer);
    let instruments = Instruments::installed();
    match set {
        Ok(()) => process_by(&instruments, destination, span, processing).await,
        // Where nothing is traced, what came goes on to whoever is sent to.
        Err(_) => {
            let processing = processing.with_context(producer.clone());
            process_by(&instruments, destination, span, processing).await
        }
    }
}

pub(crate) async fn process_by<T, E>(
    instruments: &Instruments,
    destination: Destination<'_>,
    span: Span,
    processing: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let measured = Measured::start(instruments, destination, "process", span.clone());
    measured.end(processing.instrument(span).await)
}

/// An operation, until it is known what became of it.
struct Measured<'a> {
    instruments: &'a Instruments,
    operation: &'static str,
    span: Span,
    started: Instant,
    attributes: Vec<KeyValue>,
    has_ended: bool,
}

impl<'a> Measured<'a> {
    fn start(
        instruments: &'a Instruments,
        destination: Destination<'_>,
        operation: &'static str,
        span: Span,
    ) -> Self {
        let mut attributes = vec![
            KeyValue::new("messaging.system", "nats"),
            KeyValue::new("messaging.operation.name", operation),
        ];
        attributes.extend(destination.few());
        Self {
            instruments,
            operation,
            span,
            started: Instant::now(),
            attributes,
            has_ended: false,
        }
    }

    fn end<T, E>(mut self, result: Result<T, E>) -> Result<T, E> {
        let error = result.is_err().then(std::any::type_name::<E>);
        self.record(error);
        result
    }

    fn record(&mut self, error: Option<&'static str>) {
        self.has_ended = true;
        let seconds = self.started.elapsed().as_secs_f64();
        if let Some(error) = error {
            failed(&self.span, error);
            self.attributes.push(KeyValue::new("error.type", error));
        }
        if self.operation == "send" {
            self.instruments.sent.add(1, &self.attributes);
            let kind = KeyValue::new("messaging.operation.type", self.operation);
            self.attributes.push(kind);
            self.instruments.operation.record(seconds, &self.attributes);
        } else {
            self.instruments.process.record(seconds, &self.attributes);
        }
    }
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            let is_panic = std::thread::panicking();
            self.record(Some(if is_panic { "panic" } else { "cancelled" }));
        }
    }
}
