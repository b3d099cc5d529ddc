//! Counts what became of each item of one signal.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::status::{LastError, SignalStatus};
use crate::sync::lock;

/// The counters of one signal.
///
/// Each item is in one of `queued`, `sending` and `spooled`, or counted once in one of the others.
#[derive(Debug, Default)]
pub(crate) struct ExportStats {
    queued: AtomicU64,
    sending: AtomicU64,
    spooled: AtomicU64,
    exported: AtomicU64,
    queue_full: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
    retries: AtomicU64,
    last_error: Mutex<Option<LastError>>,
}

impl ExportStats {
    /// Counts an item as queued, unless `limit` items are; then it counts as dropped.
    pub(super) fn try_enqueue(&self, limit: u64) -> bool {
        let is_queued = self
            .queued
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |queued| {
                (queued < limit).then_some(queued + 1)
            })
            .is_ok();
        if !is_queued {
            self.queue_full.fetch_add(1, Ordering::Relaxed);
        }
        is_queued
    }

    /// Items were taken from the queue to be sent.
    pub(super) fn dequeued(&self, items: usize) {
        self.sending(items);
        sub(&self.queued, items);
    }

    /// Items that were never queued, such as the data points of metrics, are being sent.
    pub(super) fn sending(&self, items: usize) {
        add(&self.sending, items);
    }

    pub(super) fn is_sending(&self) -> bool {
        self.sending.load(Ordering::Relaxed) > 0
    }

    /// The endpoint accepted a batch, except for `rejected` of its items.
    pub(super) fn exported(&self, items: usize, rejected: u64) {
        self.accepted(items, rejected);
        sub(&self.sending, items);
    }

    pub(super) fn failed(&self, items: usize) {
        add(&self.failed, items);
        sub(&self.sending, items);
    }

    /// A batch is about to be written to the spool.
    pub(super) fn spooling(&self, items: usize) {
        add(&self.spooled, items);
    }

    /// That batch was written.
    pub(super) fn spooled(&self, items: usize) {
        sub(&self.sending, items);
    }

    /// That batch could not be written, and is still to be sent.
    pub(super) fn spooling_failed(&self, items: usize) {
        sub(&self.spooled, items);
    }

    /// The spool contained items at the start.
    pub(super) fn found_in_spool(&self, items: usize) {
        add(&self.spooled, items);
    }

    pub(super) fn exported_from_spool(&self, items: usize, rejected: u64) {
        self.unspool(items);
        self.accepted(items, rejected);
    }

    pub(super) fn dropped_from_spool(&self, items: usize) {
        self.unspool(items);
        add(&self.failed, items);
    }

    fn unspool(&self, items: usize) {
        // Saturates, as files that were put there from outside were never counted.
        let _ = self
            .spooled
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spooled| {
                Some(spooled.saturating_sub(count(items)))
            });
    }

    fn accepted(&self, items: usize, rejected: u64) {
        let rejected = rejected.min(count(items));
        let exported = count(items) - rejected;
        self.exported.fetch_add(exported, Ordering::Relaxed);
        self.rejected.fetch_add(rejected, Ordering::Relaxed);
    }

    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets or clears the endpoint's error. Returns whether its state has changed.
    pub(super) fn set_last_error(&self, reason: Option<String>) -> bool {
        let mut last = lock(&self.last_error);
        let has_changed = last.is_some() != reason.is_some();
        let since = last.take().map_or_else(SystemTime::now, |last| last.since);
        *last = reason.map(|reason| LastError { since, reason });
        has_changed
    }

    pub(crate) fn status(&self) -> SignalStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SignalStatus {
            waiting: read(&self.queued) + read(&self.sending),
            spooled: read(&self.spooled),
            exported: read(&self.exported),
            dropped_queue_full: read(&self.queue_full),
            dropped_failed: read(&self.failed),
            rejected: read(&self.rejected),
            retries: read(&self.retries),
            last_error: lock(&self.last_error).clone(),
        }
    }
}

fn add(counter: &AtomicU64, items: usize) {
    counter.fetch_add(count(items), Ordering::Relaxed);
}

fn sub(counter: &AtomicU64, items: usize) {
    counter.fetch_sub(count(items), Ordering::Relaxed);
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}
