//! The results of all checks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::check::{Check, CheckResult};

#[derive(Debug)]
pub(super) struct Report {
    results: Vec<CheckResult>,
    /// Whether all checks have a result.
    is_complete: bool,
    ended: Instant,
}

impl Report {
    /// Runs all checks concurrently.
    pub(super) async fn run(checks: Vec<Check>, timeout: Duration) -> Self {
        let count = checks.len();
        let mut running = JoinSet::new();
        for check in checks {
            running.spawn(check.run(timeout));
        }
        let mut results = Vec::with_capacity(count);
        while let Some(result) = running.join_next().await {
            results.extend(result);
        }
        Self {
            is_complete: results.len() == count,
            results,
            ended: Instant::now(),
        }
    }

    pub(super) fn age(&self) -> Duration {
        self.ended.elapsed()
    }

    pub(super) fn passed(&self) -> bool {
        self.is_complete && self.results.iter().all(|check| check.passed)
    }

    pub(super) fn to_json(&self) -> Value {
        // The draft requires an array for each name; several checks may have the same.
        let mut checks = BTreeMap::<_, Vec<Value>>::new();
        for check in &self.results {
            let name = format!("{}:responseTime", check.name);
            checks.entry(name).or_default().push(json!({
                "status": status(check.passed),
                "observedValue": u64::try_from(check.duration.as_millis()).unwrap_or(u64::MAX),
                "observedUnit": "ms",
            }));
        }
        json!({ "status": status(self.passed()), "checks": checks })
    }
}

fn status(passed: bool) -> &'static str {
    if passed { "pass" } else { "fail" }
}
