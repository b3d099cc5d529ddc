//! Counters for operators.

use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

use crate::record::Outcome;

/// The counters that are exported to OpenTelemetry and returned by
/// [`Audit::status`](crate::Audit::status).
#[derive(Debug)]
pub(crate) struct Metrics {
    committed: Count,
    attempts: Count,
    suppressed: Count,
    lost: Count,
    violations: Count,
    unknown: Count,
    #[cfg(feature = "seal")]
    pub(crate) seal: std::sync::Arc<crate::seal::SealStatus>,
}

/// The counters since [`AuditBuilder::start`](crate::AuditBuilder::start), returned by
/// [`Audit::status`](crate::Audit::status). Each doc comment names the OpenTelemetry metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditStatus {
    /// Success records committed together with their change (`audit.records`).
    pub committed: u64,
    /// Records of failed attempts, which changed nothing (`audit.attempts`).
    pub attempts: u64,
    /// Rate-limited attempts, which are only counted in a summary record
    /// (`audit.attempts.suppressed`); see
    /// [`anonymous_attempts`](crate::AuditBuilder::anonymous_attempts) and
    /// [`actor_attempts`](crate::AuditBuilder::actor_attempts).
    pub suppressed_attempts: u64,
    /// Attempts whose record could not be written (`audit.attempts.lost`). Each is also logged as
    /// an ERROR event with the complete record. Alert on any.
    pub lost_attempts: u64,
    /// State-changing requests that succeeded without a record (`audit.violations`), whether their
    /// response was replaced or the violation was only reported. Alert on any.
    pub violations: u64,
    /// Commits with an unknown outcome, because the connection was lost or the commit timed out
    /// (`audit.commits.unknown`).
    pub unknown_commits: u64,
    /// Entries of the sealed log, as this instance knows it (`audit.seal.positions`). 0 without a
    /// [seal](crate::AuditBuilder::seal).
    #[cfg(feature = "seal")]
    pub sealed_entries: u64,
    /// Passes of the sealer that failed (`audit.seal.failures`). Alert on any: records are not
    /// sealed until the cause is removed.
    #[cfg(feature = "seal")]
    pub seal_failures: u64,
    /// How long ago this instance last sealed everything that was committed. `None` if it never
    /// did, as while another instance seals. Alert on more than a minute on all instances.
    #[cfg(feature = "seal")]
    pub unsealed_for: Option<std::time::Duration>,
}

#[derive(Debug)]
struct Count {
    total: AtomicU64,
    counter: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = opentelemetry::global::meter("platform-audit");
        let counter = |name: &'static str, unit: &'static str, description: &'static str| Count {
            total: AtomicU64::new(0),
            counter: meter
                .u64_counter(name)
                .with_unit(unit)
                .with_description(description)
                .build(),
        };
        Self {
            committed: counter(
                "audit.records",
                "{record}",
                "Success records committed together with their change",
            ),
            attempts: counter(
                "audit.attempts",
                "{record}",
                "Records of failed attempts, which changed nothing",
            ),
            suppressed: counter(
                "audit.attempts.suppressed",
                "{attempt}",
                "Rate-limited attempts, which are only counted in a summary record",
            ),
            lost: counter(
                "audit.attempts.lost",
                "{record}",
                "Attempts whose record could not be written",
            ),
            violations: counter(
                "audit.violations",
                "{request}",
                "State-changing requests that succeeded without an audit record",
            ),
            unknown: counter(
                "audit.commits.unknown",
                "{transaction}",
                "Commits whose outcome is unknown",
            ),
            #[cfg(feature = "seal")]
            seal: std::sync::Arc::new(crate::seal::SealStatus::new()),
        }
    }

    pub(crate) fn committed(&self, records: usize) {
        self.committed.add(records as u64, &[]);
    }

    pub(crate) fn attempt(&self, outcome: Outcome) {
        self.attempts
            .add(1, &[KeyValue::new("audit.outcome", outcome.as_str())]);
    }

    pub(crate) fn suppressed(&self) {
        self.suppressed.add(1, &[]);
    }

    pub(crate) fn lost(&self) {
        self.lost.add(1, &[]);
    }

    pub(crate) fn violation(&self) {
        self.violations.add(1, &[]);
    }

    pub(crate) fn unknown(&self) {
        self.unknown.add(1, &[]);
    }

    pub(crate) fn status(&self) -> AuditStatus {
        AuditStatus {
            committed: self.committed.total(),
            attempts: self.attempts.total(),
            suppressed_attempts: self.suppressed.total(),
            lost_attempts: self.lost.total(),
            violations: self.violations.total(),
            unknown_commits: self.unknown.total(),
            #[cfg(feature = "seal")]
            sealed_entries: self.seal.size(),
            #[cfg(feature = "seal")]
            seal_failures: self.seal.failures(),
            #[cfg(feature = "seal")]
            unsealed_for: self.seal.age(),
        }
    }
}

impl Count {
    fn add(&self, count: u64, attributes: &[KeyValue]) {
        self.total.fetch_add(count, Ordering::Relaxed);
        self.counter.add(count, attributes);
    }

    fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}
