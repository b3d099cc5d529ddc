//! What became of the telemetry so far, counted item by item.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::config::Signal;

/// What became of the telemetry of a process so far; from
/// [`Telemetry::status`](crate::Telemetry::status).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The spans.
    pub traces: SignalStatus,
    /// The data points of metrics.
    pub metrics: SignalStatus,
    /// The log records.
    pub logs: SignalStatus,
}

/// What became of the items of one signal. Each is waiting, or counted once below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalStatus {
    /// Those that wait to be sent, or are being sent; none for metrics, which are read when they
    /// are sent.
    pub waiting: u64,
    /// Those that the endpoint took.
    pub exported: u64,
    /// Those that are kept on disk until the endpoint takes them; of earlier processes too.
    pub spooled: u64,
    /// Those that were dropped because the queue was full.
    pub dropped_queue_full: u64,
    /// Those that were dropped because the endpoint did not take them, or not in time.
    pub dropped_failed: u64,
    /// Those that the endpoint refused while it took others (OTLP's `partial_success`).
    pub rejected: u64,
    /// How often a request was sent again.
    pub retries: u64,
    /// Why and since when the endpoint takes nothing; none while it does.
    pub trouble: Option<Trouble>,
}

impl Status {
    pub(super) fn of(&self, signal: Signal) -> &SignalStatus {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
            Signal::Logs => &self.logs,
        }
    }
}

/// An endpoint that takes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trouble {
    /// Since when.
    pub since: SystemTime,
    /// What came back last, such as `429 Too Many Requests`, without anything that was sent.
    pub reason: String,
}

/// The books of one signal.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    waiting: AtomicUsize,
    /// How many left the queue, and are being sent.
    sending: AtomicUsize,
    /// How many items the request has that is being sent, if one is. Each signal has one at a time.
    in_flight: AtomicUsize,
    /// How many of them the endpoint refused, as far as it has answered.
    in_flight_refused: AtomicU64,
    /// Whether that request was spooled.
    was_spooled: AtomicBool,
    spooled: AtomicU64,
    exported: AtomicU64,
    queue_full: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
    retries: AtomicU64,
    trouble: Mutex<Option<Trouble>>,
}

impl Ledger {
    /// Whether one more item may wait, of `limit` at most; one that may not is counted as dropped.
    pub(super) fn admit(&self, limit: usize) -> bool {
        let admitted = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
                (waiting < limit).then_some(waiting + 1)
            })
            .is_ok();
        if !admitted {
            self.queue_full.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// So many items left the queue, to be sent.
    pub(super) fn taken(&self, items: usize) {
        self.sending.fetch_add(items, Ordering::Relaxed);
        self.waiting.fetch_sub(items, Ordering::Relaxed);
    }

    /// The export of so many items begins.
    pub(super) fn began(&self, items: usize) {
        self.in_flight.store(items, Ordering::Relaxed);
        self.in_flight_refused.store(0, Ordering::Relaxed);
        self.was_spooled.store(false, Ordering::Relaxed);
    }

    /// How many items the request has that is being sent; 0 if none is.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The request that is being sent goes to the disk instead: said before it is there, as it may
    /// be gone again at once.
    pub(super) fn spooling(&self) {
        self.found(self.in_flight());
        self.was_spooled.store(true, Ordering::Relaxed);
    }

    /// It did not get there.
    pub(super) fn not_spooled(&self) {
        let items = count(self.in_flight());
        self.spooled.fetch_sub(items, Ordering::Relaxed);
        self.was_spooled.store(false, Ordering::Relaxed);
    }

    /// So many items were found on disk.
    pub(super) fn found(&self, items: usize) {
        self.spooled.fetch_add(count(items), Ordering::Relaxed);
    }

    /// So many items are no longer kept on disk: they were dropped.
    pub(super) fn dropped_from_disk(&self, items: usize) {
        self.unspooled(items);
        self.failed.fetch_add(count(items), Ordering::Relaxed);
    }

    /// The same: they were sent, and so many of them were refused.
    pub(super) fn sent_from_disk(&self, items: usize, refused: u64) {
        self.unspooled(items);
        self.took(count(items), refused);
    }

    fn unspooled(&self, items: usize) {
        // What somebody else put there was never counted.
        let _ = self
            .spooled
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spooled| {
                Some(spooled.saturating_sub(count(items)))
            });
    }

    /// Counted once what was refused is known: what is counted only grows.
    fn took(&self, items: u64, refused: u64) {
        let refused = refused.min(items);
        self.exported.fetch_add(items - refused, Ordering::Relaxed);
        self.rejected.fetch_add(refused, Ordering::Relaxed);
    }

    /// The export of so many items has ended.
    pub(super) fn ended(&self, items: usize, exported: bool) {
        let items = count(items);
        let refused = self.in_flight_refused.swap(0, Ordering::Relaxed);
        if !self.was_spooled.swap(false, Ordering::Relaxed) {
            if exported {
                self.took(items, refused);
            } else {
                self.failed.fetch_add(items, Ordering::Relaxed);
            }
        }
        // The data points of metrics were in no queue.
        let _ = self
            .sending
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sending| {
                Some(sending.saturating_sub(usize::try_from(items).unwrap_or(usize::MAX)))
            });
        self.in_flight.store(0, Ordering::Relaxed);
    }

    /// Of the request that is being sent, which was answered with success, so many were refused.
    pub(super) fn refused(&self, items: u64) {
        self.in_flight_refused.store(items, Ordering::Relaxed);
    }

    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// The endpoint takes nothing; or does again. Answers whether that is news.
    pub(super) fn trouble(&self, reason: Option<String>) -> bool {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let news = trouble.is_some() != reason.is_some();
        let since = trouble.take().map_or_else(SystemTime::now, |old| old.since);
        *trouble = reason.map(|reason| Trouble { since, reason });
        news
    }

    pub(crate) fn status(&self) -> SignalStatus {
        let read = |of: &AtomicU64| of.load(Ordering::Relaxed);
        SignalStatus {
            waiting: count(self.waiting.load(Ordering::Relaxed))
                + count(self.sending.load(Ordering::Relaxed)),
            spooled: read(&self.spooled),
            exported: read(&self.exported),
            dropped_queue_full: read(&self.queue_full),
            dropped_failed: read(&self.failed),
            rejected: read(&self.rejected),
            retries: read(&self.retries),
            trouble: self
                .trouble
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}
