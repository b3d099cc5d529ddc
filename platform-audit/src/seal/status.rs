//! How far the sealer is.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry::metrics::{Counter, Gauge, Histogram};

use crate::lock::lock;

/// The metrics of sealing.
#[derive(Debug)]
pub(crate) struct SealStatus {
    size: AtomicU64,
    failures: AtomicU64,
    /// When a pass last found that everything is sealed.
    complete: Mutex<Option<Instant>>,
    positions: Gauge<u64>,
    lag: Histogram<f64>,
    failed: Counter<u64>,
}

impl SealStatus {
    pub(crate) fn new() -> Self {
        let meter = opentelemetry::global::meter("platform-audit");
        Self {
            size: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            complete: Mutex::new(None),
            positions: meter
                .u64_gauge("audit.seal.positions")
                .with_unit("{entry}")
                .with_description("Entries of the sealed log")
                .build(),
            lag: meter
                .f64_histogram("audit.seal.lag")
                .with_unit("s")
                .with_description("Age of the oldest record of a pass when it was sealed")
                .with_boundaries(vec![
                    0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 600.0, 3600.0,
                ])
                .build(),
            failed: meter
                .u64_counter("audit.seal.failures")
                .with_unit("{pass}")
                .with_description("Passes of the sealer that failed")
                .build(),
        }
    }

    /// A pass added `added` entries. `oldest` is the time of the oldest record among them, in
    /// microseconds since 1970.
    pub(crate) fn sealed(&self, size: u64, added: u64, oldest: Option<i64>) {
        self.size.store(size, Ordering::Relaxed);
        *lock(&self.complete) = Some(Instant::now());
        self.positions.record(size, &[]);
        if added > 0
            && let Some(oldest) = oldest
        {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.map_or(0, |now| i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
            let age = Duration::from_micros(now.saturating_sub(oldest).try_into().unwrap_or(0));
            self.lag.record(age.as_secs_f64(), &[]);
        }
    }

    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.failed.add(1, &[]);
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// How long ago a pass last succeeded.
    pub(crate) fn age(&self) -> Option<Duration> {
        lock(&self.complete).map(|at| at.elapsed())
    }
}
