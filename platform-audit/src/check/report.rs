//! The report of a check.

use std::fmt;

use serde::Serialize;

use super::Finding;
use crate::text::escape_controls;

/// The result of a check. `Display` formats a numbered list of findings with their remedies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The audit schema; on SQLite, the table prefix.
    pub schema: String,
    /// The service's role; empty on SQLite, which has no roles.
    pub role: String,
    /// The problems; empty if there are none.
    pub findings: Vec<Finding>,
    /// Guarantees that this database does not provide although nothing is wrong, and how to change
    /// that.
    pub notes: Vec<String>,
}

impl Report {
    /// Returns whether there are no findings. Notes do not count.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, finding) in self.findings.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(
                f,
                "{}. {}\n   remedy: ",
                number + 1,
                escape_controls(&finding.message)
            )?;
            if finding.remedy_is_multiline {
                let lines: Vec<_> = finding.remedy.lines().map(escape_controls).collect();
                f.write_str(&lines.join("\n"))?;
            } else {
                f.write_str(&escape_controls(&finding.remedy))?;
            }
        }
        Ok(())
    }
}
