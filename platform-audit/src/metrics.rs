use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

use crate::record::Outcome;

/// Counts what an operator must see, for OpenTelemetry and for [`Audit::status`](crate::Audit::status).
#[derive(Debug)]
pub(crate) struct Metrics {
    committed: Counted,
    attempts: Counted,
    suppressed: Counted,
    lost: Counted,
    violations: Counted,
    unknown: Counted,
}

/// What the toolkit has counted since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditStatus {
    /// Success records committed with their change (`audit.records`).
    pub committed: u64,
    /// Records of attempts that changed nothing (`audit.attempts`).
    pub attempts: u64,
    /// Attempts over a limit, which were only counted in a summary (`audit.attempts.suppressed`); see
    /// [`anonymous_attempts`](crate::AuditBuilder::anonymous_attempts) and
    /// [`actor_attempts`](crate::AuditBuilder::actor_attempts).
    pub suppressed_attempts: u64,
    /// Attempts whose record could not be written; each is also an ERROR event that holds the
    /// whole record (`audit.attempts.lost`). Alert on any.
    pub lost_attempts: u64,
    /// Responses to unaudited changes, refused or only reported (`audit.violations`). Alert on any.
    pub violations: u64,
    /// Commits whose outcome the lost connection kept to itself (`audit.commits.unknown`).
    pub unknown_commits: u64,
}

#[derive(Debug)]
struct Counted {
    total: AtomicU64,
    counter: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = opentelemetry::global::meter("platform-audit");
        let counted = |name: &'static str, unit: &'static str, description: &'static str| Counted {
            total: AtomicU64::new(0),
            counter: meter
                .u64_counter(name)
                .with_unit(unit)
                .with_description(description)
                .build(),
        };
        Self {
            committed: counted(
                "audit.records",
                "{record}",
                "Success records committed with their change",
            ),
            attempts: counted(
                "audit.attempts",
                "{record}",
                "Records of attempts that changed nothing",
            ),
            suppressed: counted(
                "audit.attempts.suppressed",
                "{attempt}",
                "Attempts over a limit, which were only counted",
            ),
            lost: counted(
                "audit.attempts.lost",
                "{record}",
                "Attempts whose record could not be written",
            ),
            violations: counted(
                "audit.violations",
                "{request}",
                "Responses to state changes without an audit record",
            ),
            unknown: counted(
                "audit.commits.unknown",
                "{transaction}",
                "Commits whose outcome is unknown",
            ),
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
        }
    }
}

impl Counted {
    fn add(&self, count: u64, attributes: &[KeyValue]) {
        self.total.fetch_add(count, Ordering::Relaxed);
        self.counter.add(count, attributes);
    }

    fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}
