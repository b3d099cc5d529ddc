use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use super::AuditQuery;
use super::reading::Reading;
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
    /// The month (UTC) in which the record was written, as `2026-11`.
    Month,
    /// The week (UTC, ISO 8601) in which the record was written, as the day of its Monday.
    Week,
    /// The day (UTC) on which the record was written, as `2026-11-23`.
    Day,
    /// The hour (UTC), as `2026-11-23T17`.
    Hour,
}

impl GroupBy {
    /// The query of what a summary of `query` counts as `value`: its conditions, and that one. `None`
    /// if there is no such value, or it is that of records that have none, which cannot be asked for.
    pub fn only(self, query: &AuditQuery, value: &str) -> Option<AuditQuery> {
        let query = query.clone();
        let only = vec![value.to_owned()];
        Some(match self {
            _ if value.is_empty() => return None,
            Self::Action => AuditQuery {
                action: only,
                ..query
            },
            Self::Actor => AuditQuery {
                actor: only,
                ..query
            },
            Self::ResourceType => AuditQuery {
                resource_type: only,
                ..query
            },
            Self::Outcome => {
                let outcome = vec![serde_json::from_value(value.into()).ok()?];
                AuditQuery { outcome, ..query }
            }
            Self::Month | Self::Week | Self::Day | Self::Hour => {
                let (since, until) = self.period(value)?;
                AuditQuery {
                    since: Some(query.since.map_or(since, |it| it.max(since))),
                    until: Some(query.until.map_or(until, |it| it.min(until))),
                    ..query
                }
            }
        })
    }

    /// How long a period is, if it groups by time.
    pub(crate) fn length(self) -> Option<Span> {
        match self {
            Self::Month => Some(1.month()),
            Self::Week => Some(1.week()),
            Self::Day => Some(1.day()),
            Self::Hour => Some(1.hour()),
            _ => None,
        }
    }

    /// The period of that name, as a summary has it.
    fn period(self, value: &str) -> Option<(Timestamp, Timestamp)> {
        let begin = match self {
            Self::Month => format!("{value}-01").parse::<Date>().ok()?.at(0, 0, 0, 0),
            Self::Hour => format!("{value}:00:00").parse().ok()?,
            _ => value.parse::<Date>().ok()?.at(0, 0, 0, 0),
        };
        let end = begin.checked_add(self.length()?).ok()?;
        let in_utc = |moment| TimeZone::UTC.to_timestamp(moment).ok();
        Some((in_utc(begin)?, in_utc(end)?))
    }
}

/// Most values that a summary tells of.
pub const MOST_VALUES: usize = 1_000;

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
    /// Counts the records of `query` by `group`: the most frequent first, at most [`MOST_VALUES`]; the
    /// last [`MOST_VALUES`] months, weeks, days or hours in their order.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] when the database cannot be asked; [`Error::ReadNotRecorded`] when the reading
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
        self.record("summary", query, counts.len() as u64).await?;
        Ok(counts)
    }

    /// How many records `query` asks for, exactly.
    ///
    /// # Errors
    ///
    /// As [`summary`](Self::summary).
    pub async fn count(&self, query: &AuditQuery) -> Result<u64, Error> {
        let dialect = self.dialect();
        let mut statement = Statement::select(dialect, self.schema(), Statement::count(dialect));
        statement.conditions(query)?;
        let counts: Vec<u64> = self.fetch(statement).await?;
        let count = counts.first().copied().unwrap_or_default();
        self.record("count", query, count).await?;
        Ok(count)
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
        (GroupBy::Month, Dialect::Postgres) => (
            "to_char(record.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM')",
            true,
        ),
        (GroupBy::Month, Dialect::Sqlite) => ("substr(record.recorded_at, 1, 7)", true),
        (GroupBy::Week, Dialect::Postgres) => (
            "to_char(date_trunc('week', record.recorded_at AT TIME ZONE 'UTC'), 'YYYY-MM-DD')",
            true,
        ),
        // The Sunday that ends the week, and from it back.
        (GroupBy::Week, Dialect::Sqlite) => (
            "date(substr(record.recorded_at, 1, 10), 'weekday 0', '-6 days')",
            true,
        ),
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
