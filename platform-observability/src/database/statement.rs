//! sqlx's event for a statement.

use std::fmt::Debug;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata};

use super::sanitize::{DoubleQuotes, sanitized};
use super::summary::{Summary, summary};

/// The target of sqlx's events.
const TARGET: &str = "sqlx::query";

/// Whether this is sqlx's event for a statement. Also matches the callsite with which sqlx checks
/// whether the event is enabled, which is neither an event nor a span.
pub(crate) fn is_statement(metadata: &Metadata<'_>) -> bool {
    !metadata.is_span() && metadata.target() == TARGET
}

/// A statement that was executed.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(super) summary: Summary,
    pub(super) text: Option<String>,
    pub(crate) elapsed: Duration,
}

impl Statement {
    /// Reads `event`, with the sanitized text if `text` is set. `None` if the event is not one of
    /// sqlx's.
    pub(crate) fn from_event(event: &Event<'_>, text: Option<DoubleQuotes>) -> Option<Self> {
        let mut visitor = StatementVisitor {
            records_text: text,
            summary: None,
            text: None,
            elapsed: None,
        };
        event.record(&mut visitor);
        Some(Self {
            summary: visitor.summary?,
            text: visitor.text,
            elapsed: visitor.elapsed?,
        })
    }

    /// The operations and tables; empty if they are unknown.
    pub(crate) fn summary_text(&self) -> &str {
        &self.summary.text
    }
}

struct StatementVisitor {
    records_text: Option<DoubleQuotes>,
    summary: Option<Summary>,
    text: Option<String>,
    elapsed: Option<Duration>,
}

impl StatementVisitor {
    fn set_sql(&mut self, sql: &str) {
        self.summary = Some(summary(sql));
        self.text = self
            .records_text
            .and_then(|double_quotes| sanitized(sql, double_quotes));
    }
}

impl Visit for StatementVisitor {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            // The statement, if it has at most four words. Otherwise this is only its beginning,
            // and `db.statement` contains the whole text.
            "summary" if self.summary.is_none() => self.set_sql(value),
            "db.statement" if !value.is_empty() => self.set_sql(value),
            _ => {}
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_secs" {
            self.elapsed = Duration::try_from_secs_f64(value).ok();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
