//! Counts the items of one signal by their outcome.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::status::{LastError, SignalStatus};
use crate::sync::lock;

/// The counters of one signal.
///
/// Each item is counted in exactly one of `queued`, `sending`, `spooled`, `exported`, `queue_full`,
/// `failed` and `rejected`.
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
    /// Counts an item as queued and returns `true`. If `limit` items are queued already, counts it
    /// as dropped and returns `false`.
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

    /// Call this when items were taken from the queue to be sent.
    pub(super) fn dequeued(&self, items: usize) {
        self.sending(items);
        sub(&self.queued, items);
    }

    /// Call this before sending items that were never queued, such as the data points of metrics.
    pub(super) fn sending(&self, items: usize) {
        add(&self.sending, items);
    }

    pub(super) fn is_sending(&self) -> bool {
        self.sending.load(Ordering::Relaxed) > 0
    }

    /// Call this when the endpoint has accepted a batch, except for `rejected` of its items.
    pub(super) fn exported(&self, items: usize, rejected: u64) {
        self.accepted(items, rejected);
        sub(&self.sending, items);
    }

    pub(super) fn failed(&self, items: usize) {
        add(&self.failed, items);
        sub(&self.sending, items);
    }

    /// Call this before a batch is written to the spool.
    pub(super) fn spooling(&self, items: usize) {
        add(&self.spooled, items);
    }

    /// Call this when the batch was written.
    pub(super) fn spooled(&self, items: usize) {
        sub(&self.sending, items);
    }

    /// Call this when the batch could not be written, and will be sent directly.
    pub(super) fn spooling_failed(&self, items: usize) {
        sub(&self.spooled, items);
    }

    /// Call this at the start, for the items that the spool contains.
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

    /// Sets or clears the endpoint's error. Returns whether the endpoint started or
    /// stopped failing.
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
