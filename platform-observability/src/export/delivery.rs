//! Delivers batches of one signal, through the spool if there is one, and counts their outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

use super::response::rejected_items;
use super::shutdown_flag::ShutdownFlag;
use super::spool::SignalSpool;
use super::spooler::Spooler;
use super::stats::ExportStats;
use super::transport::Transport;
use crate::config::Endpoint;
use crate::error::Error;
use crate::signal::Signal;

/// The delivery of one signal. Clones share the connection and the spool.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) transport: Arc<Transport>,
    pub(super) spooler: Option<Arc<Spooler>>,
}

impl Delivery {
    /// Creates a delivery. With a spool, batches are written to disk, and a separate thread sends
    /// them, so that a slow endpoint does not block the exporter.
    pub(super) fn new(
        signal: Signal,
        endpoint: &Endpoint,
        stats: Arc<ExportStats>,
        shutdown: ShutdownFlag,
        spool: Option<SignalSpool>,
    ) -> Result<Self, Error> {
        let transport = Arc::new(Transport::new(signal, endpoint, stats, shutdown)?);
        let spooler = spool.map(|spool| Spooler::new(spool, Arc::clone(&transport)));
        Ok(Self { transport, spooler })
    }

    /// A batch of this many items. Call [`ExportStats::dequeued`] or [`ExportStats::sending`]
    /// before.
    pub(super) fn batch(&self, items: usize) -> Batch {
        Batch {
            delivery: self.clone(),
            items,
            is_counted: AtomicBool::new(false),
        }
    }
}

/// One batch on its way to the endpoint. If it is dropped without having been delivered, its
/// items count as failed.
///
/// It is also the HTTP client of the exporter that encodes the batch: opentelemetry-otlp passes
/// its client only the encoded request, so the number of items has to come with the client.
#[derive(Debug)]
pub(super) struct Batch {
    delivery: Delivery,
    items: usize,
    is_counted: AtomicBool,
}

impl Batch {
    /// Delivers the encoded batch: to the spool if that is possible, else to the endpoint.
    pub(super) fn deliver(
        &self,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Response<Bytes>, HttpError> {
        if let Some(spooler) = &self.delivery.spooler
            && self.spool(spooler, headers, body)
        {
            return Ok(Response::new(Bytes::new()));
        }
        let response = self.delivery.transport.send(headers, body)?;
        if response.status().is_success() {
            self.is_counted.store(true, Ordering::Relaxed);
            let rejected = rejected_items(&response);
            self.delivery.transport.stats.exported(self.items, rejected);
        }
        Ok(response)
    }

    /// Writes the batch to the spool. Returns whether that succeeded.
    fn spool(&self, spooler: &Spooler, headers: &HeaderMap, body: &Bytes) -> bool {
        let stats = &self.delivery.transport.stats;
        let encoding = headers.get(CONTENT_ENCODING);
        let encoding = encoding.and_then(|encoding| encoding.to_str().ok());
        // Counted before it is written: the sender may consume the file immediately.
        stats.spooling(self.items);
        match spooler.spool().put(self.items, encoding, body) {
            Ok(dropped) => {
                self.is_counted.store(true, Ordering::Relaxed);
                stats.spooled(self.items);
                stats.dropped_from_spool(dropped);
                spooler.wake();
                true
            }
            Err(error) => {
                stats.spooling_failed(self.items);
                tracing::warn!(
                    target: "platform_observability::export",
                    "the spool does not accept {}, which are sent directly, and lost if the endpoint does not accept them either: {error}; check the disk",
                    self.delivery.transport.signal,
                );
                false
            }
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if !self.is_counted.load(Ordering::Relaxed) {
            self.delivery.transport.stats.failed(self.items);
        }
    }
}

#[async_trait]
impl HttpClient for Batch {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        // The other headers include OTEL_EXPORTER_OTLP_HEADERS, which the exporter adds by itself,
        // and which may contain another endpoint's token.
        let mut headers = HeaderMap::new();
        for name in [CONTENT_TYPE, CONTENT_ENCODING, USER_AGENT] {
            if let Some(value) = parts.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        self.deliver(&headers, &body)
    }
}
