//! Requirements: the limits that the toolkit's figures have to meet.

use serde_json::{Map, Value};

/// The limit that a figure has to meet.
pub(crate) struct Requirement {
    figure: &'static str,
    limit: Limit,
}

#[derive(Clone, Copy)]
enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Requirement {
    pub(crate) const fn at_least(figure: &'static str, limit: f64) -> Self {
        Self {
            figure,
            limit: Limit::AtLeast(limit),
        }
    }

    pub(crate) const fn at_most(figure: &'static str, limit: f64) -> Self {
        Self {
            figure,
            limit: Limit::AtMost(limit),
        }
    }

    /// Returns the limit as text, and whether `value` meets it.
    fn check(&self, value: f64) -> (String, bool) {
        match self.limit {
            Limit::AtLeast(limit) => (format!(">= {limit:.2}"), value >= limit),
            Limit::AtMost(limit) => (format!("<= {limit:.2}"), value <= limit),
        }
    }
}

/// Prints each requirement whose figure was measured, with the figure.
pub(crate) fn report(requirements: &[Requirement], figures: &Map<String, Value>) {
    let mut lines = Vec::new();
    for requirement in requirements {
        if let Some(value) = figures.get(requirement.figure).and_then(Value::as_f64) {
            let (limit, met) = requirement.check(value);
            let met = if met { "met" } else { "not met" };
            lines.push(format!(
                "{:<64} {limit:<8} {value:>7.3} {met:>8}",
                requirement.figure
            ));
        }
    }
    if lines.is_empty() {
        return;
    }
    say!("{:<64} {:<8} {:>7} {:>8}", "requirement", "", "figure", "");
    for line in lines {
        say!("{line}");
    }
    say!();
}

#[cfg(test)]
mod tests {
    use super::Requirement;

    #[test]
    fn a_requirement_is_met_at_its_limit() {
        for (requirement, met, not_met) in [
            (Requirement::at_least("throughput", 0.92), 0.92, 0.919),
            (Requirement::at_most("latency", 1.1), 1.1, 1.101),
        ] {
            assert!(requirement.check(met).1);
            assert!(!requirement.check(not_met).1);
        }
    }
}
