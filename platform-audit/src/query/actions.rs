use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::AuditQuery;
use super::reading::Reading;
use super::statement::Statement;
use super::summary::MOST_VALUES;
use crate::error::Error;
use crate::store::{AuditDatabase, Dialect};

/// An action as it was recorded, on one route or on none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecordedAction {
    /// The action.
    pub action: String,
    /// The request's method, if there was a request.
    pub method: Option<String>,
    /// The request's route, such as `/entries/{id}`, if it had one.
    pub route: Option<String>,
    /// How many records there are.
    pub records: u64,
    /// When the last one was written.
    pub last: Timestamp,
}

impl<DB: AuditDatabase> Reading<DB> {
    /// Which actions the records of `query` tell of, and on which routes, in the order of their
    /// names; at most 1,000. Reads all records of the period.
    ///
    /// # Errors
    ///
    /// As [`summary`](Self::summary).
    pub async fn actions(&self, query: &AuditQuery) -> Result<Vec<RecordedAction>, Error> {
        let dialect = self.dialect();
        let (object, cast) = match dialect {
            Dialect::Postgres => ("json_build_object", "::text"),
            Dialect::Sqlite => ("json_object", ""),
        };
        let by = "record.action, record.route, record.method";
        let columns = format!(
            "{object}('action', record.action, 'method', record.method, 'route', record.route, \
             'records', count(*), 'last', max(record.recorded_at)){cast}"
        );
        let mut statement = Statement::select(dialect, self.schema(), &columns);
        statement.conditions(query)?;
        let rest = format!(" GROUP BY {by} ORDER BY {by} LIMIT {MOST_VALUES}");
        statement.text.push_str(&rest);
        let actions: Vec<RecordedAction> = self.fetch(statement).await?;
        self.record("actions", query, actions.len() as u64).await?;
        Ok(actions)
    }
}
