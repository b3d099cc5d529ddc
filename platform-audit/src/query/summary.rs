use serde::{Deserialize, Serialize};

use super::AuditQuery;
use super::reader::Reading;
use super::statement::Statement;
use crate::error::Error;
use crate::store::{AuditDatabase, Dialect};

/// By what records are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GroupBy {
    /// The action.
    Action,
    /// The actor's id.
    Actor,
    /// The outcome's word.
    Outcome,
    /// The kind of resource.
    ResourceType,
    /// The day (UTC) on which the record was written, as `2026-11-23`.
    Day,
    /// The hour (UTC), as `2026-11-23T17`.
    Hour,
}

/// Most values that a summary tells of.
pub(crate) const MOST_VALUES: usize = 1_000;

/// How many records have a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Count {
    /// The value; empty for records that have none.
    pub value: String,
    /// How many.
    pub records: u64,
}

impl<DB: AuditDatabase> Reading<DB> {
    /// Counts the records of `query` by `group`: the most frequent first, at most 1,000; the last 1,000
    /// days or hours in their order.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] when the database cannot be asked; [`Error::Reading`] when the reading
    /// cannot be recorded.
    pub async fn summary(&self, query: &AuditQuery, group: GroupBy) -> Result<Vec<Count>, Error> {
        let dialect = self.dialect();
        let (value, in_order) = value(dialect, group);
        let object = match dialect {
            Dialect::Postgres => "json_build_object",
            Dialect::Sqlite => "json_object",
        };
        let cast = if dialect == Dialect::Postgres {
            "::text"
        } else {
            ""
        };
        let columns = format!("{object}('value', {value}, 'records', count(*)){cast}");
        let mut statement = Statement::select(dialect, self.schema(), &columns);
        statement.conditions(query)?;
        let order = if in_order {
            format!("{value} DESC")
        } else {
            format!("count(*) DESC, {value}")
        };
        statement.text.push_str(&format!(
            " GROUP BY {value} ORDER BY {order} LIMIT {MOST_VALUES}"
        ));
        let mut counts: Vec<Count> = self.fetch(statement).await?;
        if in_order {
            counts.reverse();
        }
        self.record("summary", query, counts.len()).await?;
        Ok(counts)
    }

    /// How many records `query` asks for, exactly.
    ///
    /// # Errors
    ///
    /// As [`summary`](Self::summary).
    pub async fn count(&self, query: &AuditQuery) -> Result<u64, Error> {
        let dialect = self.dialect();
        let columns = match dialect {
            Dialect::Postgres => "count(*)::text",
            Dialect::Sqlite => "CAST(count(*) AS TEXT)",
        };
        let mut statement = Statement::select(dialect, self.schema(), columns);
        statement.conditions(query)?;
        let counts: Vec<u64> = self.fetch(statement).await?;
        self.record("count", query, 0).await?;
        Ok(counts.first().copied().unwrap_or_default())
    }
}

/// The SQL of what is grouped by, and whether it has an order of its own.
fn value(dialect: Dialect, group: GroupBy) -> (&'static str, bool) {
    match (group, dialect) {
        (GroupBy::Action, _) => ("record.action", false),
        (GroupBy::Actor, _) => ("record.actor_id", false),
        (GroupBy::Outcome, Dialect::Postgres) => ("record.outcome::text", false),
        (GroupBy::Outcome, Dialect::Sqlite) => ("record.outcome", false),
        (GroupBy::ResourceType, _) => ("COALESCE(record.resource_type, '')", false),
        (GroupBy::Day, Dialect::Postgres) => (
            "to_char(record.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
            true,
        ),
        (GroupBy::Day, Dialect::Sqlite) => ("substr(record.recorded_at, 1, 10)", true),
        (GroupBy::Hour, Dialect::Postgres) => (
            r#"to_char(record.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24')"#,
            true,
        ),
        (GroupBy::Hour, Dialect::Sqlite) => ("substr(record.recorded_at, 1, 13)", true),
    }
}
