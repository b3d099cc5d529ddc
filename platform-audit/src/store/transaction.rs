use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;
use uuid::Uuid;

use super::columns::{columns, columns_of_several, given};
use super::postgres::insert_one;
use super::{AuditDatabase, Connection, Store, as_json, connection_failed};
use crate::error::Error;
use crate::record::AuditRecord;

/// A transaction on a connection of its own. Only this module begins and ends it.
#[derive(Debug)]
pub(crate) struct Transaction<DB: AuditDatabase> {
    connection: Connection<DB>,
    /// The id of its first record. On SQLite, obligations are resolved by it.
    token: Uuid,
}

impl<DB: AuditDatabase> Store<DB> {
    /// Begins a transaction on a live connection. BEGIN is the liveness test: a stale connection is
    /// closed and another one taken. A connection that was used before has less time to respond,
    /// because its server may have vanished without closing it.
    pub(crate) async fn begin(&self, token: Uuid) -> Result<Transaction<DB>, Error> {
        loop {
            let mut connection = self.connections.acquire().await.map_err(Error::Begin)?;
            let statement = AssertSqlSafe(Arc::clone(&self.statements.begin)).into_sql_str();
            let reused = connection.was_reused();
            let timeout = self.connections.response_timeout(reused);
            let begun = DB::TransactionManager::begin(&mut connection, Some(statement));
            let Ok(begun) = tokio::time::timeout(timeout, begun).await else {
                connection.close();
                if reused {
                    continue;
                }
                return Err(Error::Begin(sqlx::Error::PoolTimedOut));
            };
            match begun {
                Ok(()) => {
                    self.refuse_open_obligation(&mut connection).await?;
                    return Ok(Transaction { connection, token });
                }
                // Each stale connection is closed, so this ends at a fresh one.
                Err(error) if reused && connection_failed(&error) => {
                    connection.close();
                }
                Err(error) => {
                    connection.close();
                    return Err(Error::Begin(error));
                }
            }
        }
    }

    /// Writes `records` as the last statement of `transaction`, and commits.
    ///
    /// They are the last statement because it fails after an earlier error in the transaction
    /// (Postgres 25P02), whereas sqlx 0.9 reports the COMMIT of such a transaction as successful.
    pub(crate) async fn commit(
        &self,
        transaction: &mut Transaction<DB>,
        records: &[AuditRecord],
    ) -> Result<(), Error> {
        let token = transaction.token;
        let connection = &mut *transaction.connection;
        if DB::TransactionManager::get_transaction_depth(connection) != 1 {
            return Err(Error::TransactionEnded);
        }
        self.write_in_transaction(connection, token, records)
            .await?;
        DB::TransactionManager::commit(connection)
            .await
            .map_err(|error| commit_error(error, token))
    }

    /// Whether the server of an ended transaction accepts writes.
    pub(crate) async fn is_writable(
        &self,
        transaction: &mut Transaction<DB>,
    ) -> Result<bool, sqlx::Error> {
        let Some(question) = self.dialect.is_writable() else {
            return Ok(true);
        };
        let question = question.into_sql_str();
        let state = DB::fetch_raw_text(&mut transaction.connection, question).await?;
        Ok(state == "writable")
    }

    async fn write_in_transaction(
        &self,
        connection: &mut DB::Connection,
        token: Uuid,
        records: &[AuditRecord],
    ) -> Result<(), Error> {
        if let Some(check) = self.dialect.still_in_transaction() {
            DB::run_raw(connection, check.into_sql_str())
                .await
                .map_err(|_| Error::TransactionEnded)?;
        }
        let writing = match (records, &self.statements.by_columns) {
            ([record], Some(statements)) => {
                let given: Vec<_> = given(record).collect();
                let statement = insert_one(&statements.one, &given);
                DB::run(connection, Arc::from(statement), |put| {
                    columns(record, put);
                    put(self.mark.as_str().into());
                })
            }
            (_, Some(statements)) => DB::run(connection, Arc::clone(&statements.several), |put| {
                columns_of_several(records, put);
                put(self.mark.as_str().into());
            }),
            (_, None) => DB::run(
                connection,
                Arc::clone(&self.statements.insert_with_change),
                |put| {
                    put(as_json(records).as_str().into());
                    put(token.to_string().as_str().into());
                },
            ),
        };
        let written = writing.await.map_err(Error::from_insert)?;
        if written == records.len() as u64 {
            Ok(())
        } else {
            Err(Error::TransactionEnded)
        }
    }
}

/// Whether the database itself refused, so that nothing was committed. A pooler that loses its
/// server reports an internal (XX) or system error (58), which leaves the outcome unknown.
fn is_refusal(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(refused) = error else {
        return false;
    };
    let code = refused.code();
    let is_from_pooler = |code: &str| code.starts_with("XX") || code.starts_with("58");
    !connection_failed(error) && !code.is_some_and(|code| is_from_pooler(&code))
}

/// Why a COMMIT failed, and whether it is certain that nothing was committed.
fn commit_error(error: sqlx::Error, record_id: Uuid) -> Error {
    if is_refusal(&error) {
        Error::unaudited(error).unwrap_or_else(Error::Commit)
    } else {
        Error::OutcomeUnknown {
            record_id,
            source: error,
        }
    }
}

impl<DB: AuditDatabase> Transaction<DB> {
    pub(crate) fn connection(&mut self) -> &mut DB::Connection {
        &mut self.connection
    }

    /// Rolls back, including savepoints that were left open.
    pub(crate) async fn roll_back(&mut self) -> Result<(), sqlx::Error> {
        while DB::TransactionManager::get_transaction_depth(&self.connection) > 0 {
            DB::TransactionManager::rollback(&mut self.connection).await?;
        }
        Ok(())
    }

    /// Returns the connection to the pool. Its transaction must have ended.
    pub(crate) fn release(self) {
        self.connection.release();
    }

    /// Closes the connection, so that the database rolls back.
    pub(crate) fn close(self) {
        self.connection.close();
    }
}
