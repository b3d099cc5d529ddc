use std::fmt;

use serde::Serialize;

use super::Finding;
use crate::text::escape_controls;

/// What a check found. As text, a numbered list with remedies; as JSON, an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The audit schema, on SQLite the prefix of the tables.
    pub schema: String,
    /// The role that the service connects as; empty on SQLite, which has none.
    pub role: String,
    /// What is wrong; empty when the promise holds.
    pub findings: Vec<Finding>,
    /// What this database does not promise though nothing is wrong, and what would change that.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether nothing was found.
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
            if finding.remedy_has_lines {
                let lines: Vec<_> = finding.remedy.lines().map(escape_controls).collect();
                f.write_str(&lines.join("\n"))?;
            } else {
                f.write_str(&escape_controls(&finding.remedy))?;
            }
        }
        Ok(())
    }
}
