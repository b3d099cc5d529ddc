use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use super::AuditQuery;
use super::reading::Reading;
use super::statement::Statement;
use crate::error::Error;
use crate::store::{AuditDatabase, Dialect};

/// The attribute that records are grouped by when they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GroupBy {
    /// The action.
    Action,
    /// The actor's id.
    Actor,
    /// The outcome.
    Outcome,
    /// The kind of resource.
    ResourceType,
    /// The month (UTC) the record was written, as `2026-11`.
    Month,
    /// The week (UTC, ISO 8601) the record was written, as the date of its Monday.
    Week,
    /// The day (UTC) the record was written, as `2026-11-23`.
    Day,
    /// The hour (UTC) the record was written, as `2026-11-23T17`.
    Hour,
}

impl GroupBy {
    /// Narrows `query` to the records that a summary counts under `value`. `None` if there is no
    /// such value, or if it is the empty value, which stands for records without one and cannot be
    /// queried.
    pub fn narrow(self, query: &AuditQuery, value: &str) -> Option<AuditQuery> {
        let query = query.clone();
        let values = vec![value.to_owned()];
        Some(match self {
            _ if value.is_empty() => return None,
            Self::Action => AuditQuery {
                action: values,
                ..query
            },
            Self::Actor => AuditQuery {
                actor: values,
                ..query
            },
            Self::ResourceType => AuditQuery {
                resource_type: values,
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

    /// The length of a period, if this groups by time.
    pub(crate) fn period_length(self) -> Option<Span> {
        match self {
            Self::Month => Some(1.month()),
            Self::Week => Some(1.week()),
            Self::Day => Some(1.day()),
            Self::Hour => Some(1.hour()),
            _ => None,
        }
    }

    /// The period with the name `value` in a summary.
    fn period(self, value: &str) -> Option<(Timestamp, Timestamp)> {
        let begin = match self {
            Self::Month => format!("{value}-01").parse::<Date>().ok()?.at(0, 0, 0, 0),
            Self::Hour => format!("{value}:00:00").parse().ok()?,
            _ => value.parse::<Date>().ok()?.at(0, 0, 0, 0),
        };
        let end = begin.checked_add(self.period_length()?).ok()?;
        let to_utc = |time| TimeZone::UTC.to_timestamp(time).ok();
        Some((to_utc(begin)?, to_utc(end)?))
    }
}

/// Maximum number of values in a summary or list of actions.
pub const MAX_VALUES: usize = 1_000;

/// The number of records that have a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Count {
    /// The value; empty for records without one.
    pub value: String,
    /// The number of records.
    pub records: u64,
}

impl<DB: AuditDatabase> Reading<DB> {
    /// Counts the records that match `query`, grouped by `group`. Returns at most [`MAX_VALUES`]
    /// values, most frequent first; periods are returned in chronological order, and the last
    /// [`MAX_VALUES`] of them.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidQuery`] if the query is invalid; [`Error::Store`] if it fails;
    /// [`Error::ReadNotRecorded`] if the read cannot be recorded.
    pub async fn summary(&self, query: &AuditQuery, group: GroupBy) -> Result<Vec<Count>, Error> {
        let dialect = self.dialect();
        let value = group_expression(dialect, group);
        let is_chronological = group.period_length().is_some();
        let members = format!("'value', {value}, 'records', count(*)");
        let columns = dialect.sql().json_object(&members);
        let mut statement = Statement::select(dialect, self.schema(), &columns);
        statement.conditions(query)?;
        let order = if is_chronological {
            format!("{value} DESC")
        } else {
            format!("count(*) DESC, {value}")
        };
        statement.text.push_str(&format!(
            " GROUP BY {value} ORDER BY {order} LIMIT {MAX_VALUES}"
        ));
        let mut counts: Vec<Count> = self.fetch(statement).await?;
        if is_chronological {
            counts.reverse();
        }
        self.record("summary", query, counts.len() as u64).await?;
        Ok(counts)
    }

    /// Counts the records that match `query`, exactly.
    ///
    /// # Errors
    ///
    /// The same as [`summary`](Self::summary).
    pub async fn count(&self, query: &AuditQuery) -> Result<u64, Error> {
        let dialect = self.dialect();
        let mut statement = Statement::select(dialect, self.schema(), dialect.sql().count());
        statement.conditions(query)?;
        let counts: Vec<u64> = self.fetch(statement).await?;
        let count = counts.first().copied().unwrap_or_default();
        self.record("count", query, count).await?;
        Ok(count)
    }
}

/// The SQL expression to group by.
fn group_expression(dialect: Dialect, group: GroupBy) -> String {
    let sql = dialect.sql();
    match group {
        GroupBy::Action => "record.action".to_owned(),
        GroupBy::Actor => "record.actor_id".to_owned(),
        GroupBy::Outcome => sql.as_text("record.outcome"),
        GroupBy::ResourceType => "COALESCE(record.resource_type, '')".to_owned(),
        GroupBy::Month => sql.month().to_owned(),
        GroupBy::Week => sql.week().to_owned(),
        GroupBy::Day => sql.day().to_owned(),
        GroupBy::Hour => sql.hour().to_owned(),
    }
}
