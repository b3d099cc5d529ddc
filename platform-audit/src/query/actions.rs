use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::AuditQuery;
use super::reading::Reading;
use super::statement::Statement;
use super::summary::MAX_VALUES;
use crate::error::Error;
use crate::store::AuditDatabase;

/// An action that occurs in the log, with the method and route it was recorded on, if any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecordedAction {
    /// The action, such as `entry.create`.
    pub action: String,
    /// The HTTP method of the request; `None` for records made outside a request.
    pub method: Option<String>,
    /// The route template of the request, such as `/entries/{id}`; `None` outside a request.
    pub route: Option<String>,
    /// The number of matching records.
    pub records: u64,
    /// When the newest of them was recorded.
    pub last: Timestamp,
}

impl<DB: AuditDatabase> Reading<DB> {
    /// Lists the actions that occur in the records matching `query`, with their routes, sorted by
    /// action, route and method. Returns at most [`MAX_VALUES`](super::MAX_VALUES) rows.
    ///
    /// Scans all records of the period.
    ///
    /// # Errors
    ///
    /// The same as [`summary`](Self::summary).
    pub async fn actions(&self, query: &AuditQuery) -> Result<Vec<RecordedAction>, Error> {
        let dialect = self.dialect();
        let group_by = "record.action, record.route, record.method";
        let columns = dialect.sql().json_object(
            "'action', record.action, 'method', record.method, 'route', record.route, \
             'records', count(*), 'last', max(record.recorded_at)",
        );
        let mut statement = Statement::select(dialect, self.schema(), &columns);
        statement.conditions(query)?;
        let grouping = format!(" GROUP BY {group_by} ORDER BY {group_by} LIMIT {MAX_VALUES}");
        statement.text.push_str(&grouping);
        let actions: Vec<RecordedAction> = self.fetch(statement).await?;
        self.record("actions", query, actions.len() as u64).await?;
        Ok(actions)
    }
}
