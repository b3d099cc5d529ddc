//! Detects a change that an earlier transaction committed without its record.

use std::sync::Arc;

use super::super::{AuditDatabase, Store};
use crate::error::Error;

impl<DB: AuditDatabase> Store<DB> {
    /// Fails if an earlier transaction committed a change without its record, because the next
    /// record would hide that. Called when a transaction begins, before its own changes.
    pub(in crate::store) async fn refuse_open_obligation(
        &self,
        connection: &mut DB::Connection,
    ) -> Result<(), Error> {
        let Some(statement) = &self.statements.open_obligation else {
            return Ok(());
        };
        let open = DB::fetch_text(connection, Arc::clone(statement), Vec::new()).await;
        match open.map_err(Error::Begin)? {
            Some(table) => Err(Error::ObligationOpen { table }),
            None => Ok(()),
        }
    }
}
