//! What sqlx says of a statement.

use std::fmt::Debug;
use std::time::Duration;

use tracing::Event;
use tracing::field::{Field, Visit};

use super::sanitise::sanitised;
use super::summary::{Summary, summary};

/// The target of sqlx's events.
pub(crate) const TARGET: &str = "sqlx::query";

/// A statement that was sent, and is done with.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(super) summary: Summary,
    pub(super) text: Option<String>,
    pub(crate) elapsed: Duration,
}

impl Statement {
    /// What `event` tells, with its text if that is asked for; none if it is none of sqlx's.
    pub(crate) fn of(event: &Event<'_>, text: Option<QuotesNames>) -> Option<Self> {
        let mut told = Told {
            wants_text: text,
            summary: None,
            text: None,
            elapsed: None,
        };
        event.record(&mut told);
        Some(Self {
            summary: told.summary?,
            text: told.text,
            elapsed: told.elapsed?,
        })
    }

    /// What it does, and to which tables; empty if that is not known.
    pub(crate) fn name(&self) -> &str {
        &self.summary.text
    }
}

/// Whether in this database a name, and never a string, is in double quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuotesNames(pub(super) bool);

struct Told {
    wants_text: Option<QuotesNames>,
    summary: Option<Summary>,
    text: Option<String>,
    elapsed: Option<Duration>,
}

impl Told {
    fn sql(&mut self, sql: &str) {
        self.summary = Some(summary(sql));
        self.text = self
            .wants_text
            .and_then(|QuotesNames(quotes_names)| sanitised(sql, quotes_names));
    }
}

impl Visit for Told {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            // The whole of a statement of up to four words, else their beginning; then the whole
            // is in the other field.
            "summary" if self.summary.is_none() => self.sql(value),
            "db.statement" if !value.is_empty() => self.sql(value),
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
