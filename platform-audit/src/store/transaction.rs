use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;
use uuid::Uuid;

use super::columns::{columns, columns_of_several};
use super::{AuditDatabase, Connection, Store, as_json, connection_failed};
use crate::error::Error;
use crate::record::AuditRecord;

/// A transaction on a connection of its own, begun and ended here alone.
#[derive(Debug)]
pub(crate) struct Transaction<DB: AuditDatabase> {
    connection: Connection<DB>,
    /// Its name, where the database gives it none.
    token: Uuid,
}

/// Why a transaction with its records was not committed.
pub(crate) enum CommitError {
    /// The records were refused; it is to be rolled back.
    Record(Error),
    /// The commit was refused; it is to be rolled back.
    Commit(sqlx::Error),
    /// The connection was lost, and only the database knows.
    Unknown(sqlx::Error),
}

impl<DB: AuditDatabase> Store<DB> {
    /// Begins a transaction named by `token`, on a connection that turns out to be alive: BEGIN
    /// is the liveness test, so a stale connection costs nothing but a try. A server that vanished without
    /// a word answers nothing at all: one that was heard before has less time for it.
    pub(crate) async fn begin(&self, token: Uuid) -> Result<Transaction<DB>, Error> {
        loop {
            let mut connection = self.connections.lend().await.map_err(Error::Begin)?;
            let statement = AssertSqlSafe(Arc::clone(&self.statements.begin)).into_sql_str();
            let reused = connection.was_reused();
            let patience = self.connections.patience(reused);
            let begun = DB::TransactionManager::begin(&mut connection, Some(statement));
            let Ok(begun) = tokio::time::timeout(patience, begun).await else {
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
                // Each stale connection is discarded, so this ends at a fresh one.
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
    /// They are last on purpose: after an earlier error in the transaction they fail (Postgres
    /// 25P02), whereas sqlx 0.9 reports the COMMIT of such a transaction as done.
    pub(crate) async fn commit(
        &self,
        transaction: &mut Transaction<DB>,
        records: &[AuditRecord],
    ) -> Result<(), CommitError> {
        let token = transaction.token;
        let connection = &mut *transaction.connection;
        if DB::TransactionManager::get_transaction_depth(connection) != 1 {
            return Err(CommitError::Record(Error::TransactionEnded));
        }
        self.write_in_transaction(connection, token, records)
            .await
            .map_err(CommitError::Record)?;
        DB::TransactionManager::commit(connection)
            .await
            .map_err(CommitError::of_commit)
    }

    /// Whether the server of an ended transaction takes writes.
    pub(crate) async fn is_writable(
        &self,
        transaction: &mut Transaction<DB>,
    ) -> Result<bool, sqlx::Error> {
        let Some(question) = self.dialect.is_writable() else {
            return Ok(true);
        };
        let question = question.into_sql_str();
        let answer = DB::fetch_raw_text(&mut transaction.connection, question).await?;
        Ok(answer == "writable")
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
                DB::run(connection, Arc::clone(&statements.one), |put| {
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
        let written = writing.await.map_err(Error::not_written)?;
        if written == records.len() as u64 {
            Ok(())
        } else {
            Err(Error::TransactionEnded)
        }
    }
}

/// Whether the database itself says that it did not do it. A pooler tells of a server that was lost
/// meanwhile as of an internal (XX) or system error (58).
fn is_refusal(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(refused) = error else {
        return false;
    };
    let code = refused.code();
    let is_of_a_pooler = |code: &str| code.starts_with("XX") || code.starts_with("58");
    !connection_failed(error) && !code.is_some_and(|code| is_of_a_pooler(&code))
}

impl CommitError {
    fn of_commit(error: sqlx::Error) -> Self {
        if is_refusal(&error) {
            Self::Commit(error)
        } else {
            Self::Unknown(error)
        }
    }
}

impl<DB: AuditDatabase> Transaction<DB> {
    pub(crate) fn connection(&mut self) -> &mut DB::Connection {
        &mut self.connection
    }

    /// Rolls back, savepoints that were left open too.
    pub(crate) async fn roll_back(&mut self) -> Result<(), sqlx::Error> {
        while DB::TransactionManager::get_transaction_depth(&self.connection) > 0 {
            DB::TransactionManager::rollback(&mut self.connection).await?;
        }
        Ok(())
    }

    /// Gives the connection back, on which the transaction has ended.
    pub(crate) fn release(self) {
        self.connection.release();
    }

    /// Closes the connection, which makes the database roll back.
    pub(crate) fn close(self) {
        self.connection.close();
    }
}
