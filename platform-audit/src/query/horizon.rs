use jiff::Timestamp;
use serde::Deserialize;

use super::reading::Reading;
use super::statement::Statement;
use crate::error::Error;
use crate::store::AuditDatabase;

/// The database's clock and transaction snapshot: which records are certain to be visible.
#[derive(Debug, Deserialize)]
pub(super) struct Horizon {
    pub(super) now: Timestamp,
    /// The oldest transaction still running anywhere on the server; 0 on SQLite.
    pub(super) xmin: u64,
    pub(super) snapshot: String,
    /// The next transaction id to be assigned; 0 on SQLite.
    pub(super) xmax: u64,
}

impl<DB: AuditDatabase> Reading<DB> {
    pub(super) async fn horizon(&self) -> Result<Horizon, Error> {
        let dialect = self.dialect();
        let statement = Statement::new(dialect, dialect.sql().horizon());
        let mut rows = self.fetch::<Horizon>(statement).await?;
        rows.pop()
            .ok_or_else(|| Error::Store(sqlx::Error::RowNotFound))
    }
}
