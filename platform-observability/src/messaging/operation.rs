//! Sends and processes messages inside spans, and records the durations.

use std::sync::OnceLock;
use std::time::Instant;

use opentelemetry::context::FutureExt;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_semantic_conventions::{attribute as attr, metric};
use tracing::{Instrument, Span};

use super::destination::{Destination, SYSTEM};
use super::headers::{MessageHeaders, inject};
use super::spans::{child_span, consumer_span, producer_span, record_error};
use crate::instrumentation::{SCOPE, duration_histogram};

static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();

#[derive(Clone, Debug)]
pub(crate) struct Instruments {
    sent: Counter<u64>,
    operation: Histogram<f64>,
    process: Histogram<f64>,
}

impl Instruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            sent: meter
                .u64_counter(metric::MESSAGING_CLIENT_SENT_MESSAGES)
                .with_unit("{message}")
                .with_description("Number of messages that the producer attempted to send.")
                .build(),
            operation: duration_histogram(
                meter,
                metric::MESSAGING_CLIENT_OPERATION_DURATION,
                "Duration of sending a message.",
            ),
            process: duration_histogram(
                meter,
                metric::MESSAGING_PROCESS_DURATION,
                "Duration of processing a message.",
            ),
        }
    }

    /// Installs the process's instruments.
    pub(crate) fn install(meter: &Meter) {
        // Later calls are ignored, as there is one `Telemetry` per process.
        let _ = INSTRUMENTS.set(Self::new(meter));
    }

    /// The process's instruments, or new ones if the service has set up OpenTelemetry itself.
    fn installed() -> Self {
        let installed = INSTRUMENTS.get().cloned();
        installed.unwrap_or_else(|| Self::new(&global::meter(SCOPE)))
    }
}

/// Sends a message inside a [`producer_span`](super::producer_span). `send` receives `headers` with
/// the context. The duration is recorded in `messaging.client.operation.duration`, and the message
/// is counted in `messaging.client.sent.messages`.
///
/// # Errors
///
/// The errors of `send`; `error.type` is then the name of the error's Rust type. If the future is
/// dropped before it completes, `error.type` is `cancelled`.
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
    H: MessageHeaders,
    F: Future<Output = Result<T, E>>,
{
    send_with(&Instruments::installed(), destination.into(), headers, send).await
}

pub(crate) async fn send_with<H, F, T, E>(
    instruments: &Instruments,
    destination: Destination<'_>,
    mut headers: H,
    send: impl FnOnce(H) -> F,
) -> Result<T, E>
where
    H: MessageHeaders,
    F: Future<Output = Result<T, E>>,
{
    let span = producer_span(destination);
    let operation = Operation::start(instruments, destination, "send", span.clone());
    span.in_scope(|| inject(&mut headers));
    let sending = span.in_scope(|| send(headers));
    operation.end(sending.instrument(span).await)
}

/// Processes a message inside a [`consumer_span`](super::consumer_span), which is linked to the
/// producer's. The duration is recorded in `messaging.process.duration`.
///
/// # Errors
///
/// The errors of `processing`; `error.type` is then the name of the error's Rust type. If the future is
/// dropped before it completes, `error.type` is `cancelled`, and after a panic `panic`.
pub async fn process<'a, T, E>(
    destination: impl Into<Destination<'a>>,
    producer: &Context,
    processing: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let destination = destination.into();
    let span = consumer_span(destination, producer);
    process_with(&Instruments::installed(), destination, span, processing).await
}

/// Like [`process`], but inside a [`consumer_child_span`](super::consumer_child_span), which
/// continues the producer's trace.
///
/// # Errors
///
/// The errors of `processing`.
pub async fn process_child<'a, T, E>(
    destination: impl Into<Destination<'a>>,
    producer: &Context,
    processing: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let destination = destination.into();
    let (span, parent_set) = child_span(destination, producer);
    let instruments = Instruments::installed();
    match parent_set {
        Ok(()) => process_with(&instruments, destination, span, processing).await,
        // Without traces, the producer's context is passed on to further messages.
        Err(_) => {
            let processing = processing.with_context(producer.clone());
            process_with(&instruments, destination, span, processing).await
        }
    }
}

pub(crate) async fn process_with<T, E>(
    instruments: &Instruments,
    destination: Destination<'_>,
    span: Span,
    processing: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let operation = Operation::start(instruments, destination, "process", span.clone());
    operation.end(processing.instrument(span).await)
}

/// An operation that has not ended yet. If it is dropped before, the future was dropped or has
/// panicked.
struct Operation<'a> {
    instruments: &'a Instruments,
    name: &'static str,
    span: Span,
    started: Instant,
    attributes: Vec<KeyValue>,
    has_ended: bool,
}

impl<'a> Operation<'a> {
    fn start(
        instruments: &'a Instruments,
        destination: Destination<'_>,
        name: &'static str,
        span: Span,
    ) -> Self {
        let mut attributes = vec![
            KeyValue::new(attr::MESSAGING_SYSTEM, SYSTEM),
            KeyValue::new(attr::MESSAGING_OPERATION_NAME, name),
        ];
        attributes.extend(destination.metric_attributes());
        Self {
            instruments,
            name,
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
            record_error(&self.span, error);
            self.attributes.push(KeyValue::new(attr::ERROR_TYPE, error));
        }
        if self.name == "send" {
            self.instruments.sent.add(1, &self.attributes);
            let operation_type = KeyValue::new(attr::MESSAGING_OPERATION_TYPE, self.name);
            self.attributes.push(operation_type);
            self.instruments.operation.record(seconds, &self.attributes);
        } else {
            self.instruments.process.record(seconds, &self.attributes);
        }
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            let is_panic = std::thread::panicking();
            self.record(Some(if is_panic { "panic" } else { "cancelled" }));
        }
    }
}
