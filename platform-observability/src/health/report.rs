//! What came of all checks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::check::{Check, Checked};

#[derive(Debug)]
pub(super) struct Report {
    checked: Vec<Checked>,
    /// Whether each check was run to some end.
    complete: bool,
    ended: Instant,
}

impl Report {
    /// Runs all checks at once.
    pub(super) async fn of(checks: Vec<Check>, within: Duration) -> Self {
        let count = checks.len();
        let mut running = JoinSet::new();
        for check in checks {
            running.spawn(check.run(within));
        }
        let mut checked = Vec::with_capacity(count);
        while let Some(one) = running.join_next().await {
            checked.extend(one);
        }
        Self {
            complete: checked.len() == count,
            checked,
            ended: Instant::now(),
        }
    }

    pub(super) fn age(&self) -> Duration {
        self.ended.elapsed()
    }

    pub(super) fn passed(&self) -> bool {
        self.complete && self.checked.iter().all(|check| check.passed)
    }

    pub(super) fn to_json(&self) -> Value {
        // An array for each name, as the draft has it; checks may share one.
        let mut checks = BTreeMap::<_, Vec<Value>>::new();
        for check in &self.checked {
            let name = format!("{}:responseTime", check.name);
            checks.entry(name).or_default().push(json!({
                "status": status(check.passed),
                "observedValue": u64::try_from(check.took.as_millis()).unwrap_or(u64::MAX),
                "observedUnit": "ms",
            }));
        }
        json!({ "status": status(self.passed()), "checks": checks })
    }
}

fn status(passed: bool) -> &'static str {
    if passed { "pass" } else { "fail" }
}
