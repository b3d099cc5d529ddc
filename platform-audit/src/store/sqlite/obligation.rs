//! What an earlier transaction left behind that committed a change without its record.

use std::sync::Arc;

use super::super::{AuditDatabase, Store};
use crate::error::Error;

impl<DB: AuditDatabase> Store<DB> {
    /// Refuses to go on where a change was committed without its record, as the next record would hide
    /// that. Asked at the beginning of a transaction, when it has changed nothing itself.
    pub(in crate::store) async fn refuse_open_obligation(
        &self,
        connection: &mut DB::Connection,
    ) -> Result<(), Error> {
        let Some(question) = &self.statements.open_obligation else {
            return Ok(());
        };
        let open = DB::fetch_text(connection, Arc::clone(question), Vec::new()).await;
        match open.map_err(Error::Begin)? {
            Some(table) => Err(Error::ObligationOpen { table }),
            None => Ok(()),
        }
    }
}
