use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

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
    /// At the start of a tail, the ids of records restored from another server whose transaction
    /// id belongs to a running transaction.
    #[serde(default)]
    pub(super) restored: Vec<Uuid>,
}

impl<DB: AuditDatabase> Reading<DB> {
    pub(super) async fn horizon(&self) -> Result<Horizon, Error> {
        self.fetch_horizon(self.dialect().sql().horizon()).await
    }

    pub(super) async fn tail_start(&self) -> Result<Horizon, Error> {
        let start = self.dialect().sql().tail_start(self.schema());
        self.fetch_horizon(start).await
    }

    async fn fetch_horizon(&self, statement: String) -> Result<Horizon, Error> {
        let statement = Statement::new(self.dialect(), statement);
        let mut rows = self.fetch::<Horizon>(statement).await?;
        rows.pop()
            .ok_or_else(|| Error::Store(sqlx::Error::RowNotFound))
    }
}
