//! The store of records: one interface over sqlx, with the SQL of each database beside it.

mod argument;
mod columns;
mod connections;
mod database;
mod dialect;
mod maintenance;
mod migrate;
mod name;
mod postgres;
mod query;
#[cfg(feature = "seal")]
mod row;
mod schema;
#[cfg(feature = "seal")]
mod seal;
mod sqlite;
mod transaction;

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::{AssertSqlSafe, Pool, SqlSafeStr};
use uuid::Uuid;

pub(crate) use argument::Argument;
pub(crate) use connections::{Connection, Connections};
pub use database::AuditDatabase;
pub(crate) use dialect::Dialect;
pub(crate) use maintenance::{maintain, sessions};
pub(crate) use name::schema_name;
#[cfg(feature = "seal")]
pub(crate) use row::{MalformedRow, Stored, id_bytes};
pub(crate) use schema::{Schema, Tables};
#[cfg(feature = "seal")]
pub(crate) use seal::{NewSeal, RecordRow, SealRow, SealSql, Unsealed};
pub(crate) use transaction::Transaction;

use crate::error::Error;
use crate::record::AuditRecord;

/// The records of one service in one database.
#[derive(Debug)]
pub(crate) struct Store<DB: AuditDatabase> {
    pub(crate) connections: Connections<DB>,
    dialect: Dialect,
    /// The audit schema; on SQLite, the prefix of the tables.
    schema: String,
    /// Marks the transactions that this store began. It is random, so that it differs from the
    /// marks that other sessions have set.
    mark: String,
    statements: Statements,
}

/// The SQL of the store, for its schema.
#[derive(Debug)]
struct Statements {
    begin: Arc<str>,
    /// Inserts records, passed as JSON.
    insert: Arc<str>,
    by_columns: Option<ByColumns>,
    find: Arc<str>,
    /// Inserts the records of a change, passed as JSON.
    insert_with_change: Arc<str>,
    /// Selects the table of an open obligation, if there is one. SQLite only.
    open_obligation: Option<Arc<str>>,
}

/// The statements that insert a transaction's records with an argument for each column.
#[derive(Debug)]
struct ByColumns {
    /// A template whose columns `postgres::insert_one` fills in.
    one: Arc<str>,
    several: Arc<str>,
}

/// How long to wait until the currently running transactions have ended, so that none of them can
/// still commit.
pub(crate) const SETTLING: Duration = Duration::from_secs(5);

/// The part of a store that does not depend on the database.
pub(crate) trait AnyStore: Send + Sync + std::fmt::Debug {
    /// Writes records in a transaction of its own.
    fn write<'a>(&'a self, records: &'a [AuditRecord]) -> BoxFuture<'a, Result<(), Error>>;

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<DB: AuditDatabase> Store<DB> {
    /// Opens the store without connecting to the database.
    pub(crate) fn open(
        pool: Pool<DB>,
        schema: String,
        max_connections: Option<u32>,
    ) -> Result<Self, Error> {
        let dialect = DB::dialect(&pool)?.0;
        let mark = Uuid::now_v7().simple().to_string();
        Ok(Self {
            connections: Connections::new(pool, dialect, max_connections)?,
            dialect,
            statements: dialect.statements(&schema, &mark),
            schema,
            mark,
        })
    }

    /// The audit schema (SQLite: the prefix of the tables).
    pub(crate) fn name(&self) -> &str {
        &self.schema
    }

    /// The audit schema of `service`, through `connection`.
    pub(crate) fn schema<'a>(
        &'a self,
        connection: &'a mut Connection<DB>,
        service: &'a str,
    ) -> Schema<'a, DB> {
        Schema {
            connection,
            dialect: self.dialect,
            name: &self.schema,
            service,
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Reads one record back. If the response to its COMMIT was lost, it may still be committed: on
    /// Postgres this waits up to [`SETTLING`] until the currently running transactions have ended.
    pub(crate) async fn find(&self, id: Uuid) -> Result<Option<AuditRecord>, Error> {
        if let Some(record) = self.find_now(id).await? {
            return Ok(Some(record));
        }
        let Some((now, ended)) = self.dialect.settled() else {
            return Ok(None);
        };
        let began = Instant::now();
        let Some(now) = self.fetch_text(Arc::from(now), Vec::new()).await? else {
            return Ok(None);
        };
        let ended: Arc<str> = Arc::from(ended);
        while began.elapsed() < SETTLING {
            let ended = self
                .fetch_text(Arc::clone(&ended), vec![now.clone()])
                .await?;
            if ended.as_deref() == Some("true") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.find_now(id).await
    }

    async fn find_now(&self, id: Uuid) -> Result<Option<AuditRecord>, Error> {
        let statement = Arc::clone(&self.statements.find);
        let rows = self.fetch_texts(statement, vec![id.to_string()]).await?;
        if rows.len() > 1 {
            tracing::warn!(
                audit.record_id = %id,
                "several audit records have this id, and the oldest is returned: the others were inserted by the service's database role, not by the toolkit"
            );
        }
        let record = rows.first().map(|row| AuditRecord::from_row(row));
        record
            .transpose()
            .map_err(|error| Error::Store(sqlx::Error::Decode(Box::new(error))))
    }

    async fn fetch_text(
        &self,
        statement: Arc<str>,
        arguments: Vec<String>,
    ) -> Result<Option<String>, Error> {
        let texts = self.fetch_texts(statement, arguments).await?;
        Ok(texts.into_iter().next())
    }

    /// Returns the first column of a statement's rows. Retries if a stale connection failed.
    async fn fetch_texts(
        &self,
        statement: Arc<str>,
        arguments: Vec<String>,
    ) -> Result<Vec<String>, Error> {
        loop {
            let mut connection = self.connections.acquire().await.map_err(Error::Store)?;
            let reused = connection.was_reused();
            let texts = DB::fetch_texts(&mut connection, Arc::clone(&statement), arguments.clone());
            let timeout = self.connections.response_timeout(reused);
            let timed_out = |_| Err(sqlx::Error::PoolTimedOut);
            let found = tokio::time::timeout(timeout, texts).await;
            let found = found.unwrap_or_else(timed_out);
            connection.release_if_ok(&found);
            match found {
                Err(sqlx::Error::PoolTimedOut) if reused => {}
                Err(error) if reused && connection_failed(&error) => {}
                found => return found.map_err(Error::Store),
            }
        }
    }

    pub(crate) async fn run_raw(&self, statement: String) -> Result<(), Error> {
        let mut connection = self.connections.acquire().await.map_err(Error::Store)?;
        let done = DB::run_raw(&mut connection, AssertSqlSafe(statement).into_sql_str()).await;
        connection.release_if_ok(&done);
        done.map_err(Error::Store)
    }
}

impl<DB: AuditDatabase> AnyStore for Store<DB> {
    fn write<'a>(&'a self, records: &'a [AuditRecord]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            loop {
                let mut connection = self.connections.acquire().await.map_err(Error::Record)?;
                let statement = Arc::clone(&self.statements.insert);
                let reused = connection.was_reused();
                let writing = DB::run(&mut connection, statement, |put| {
                    put(as_json(records).as_str().into());
                    // On SQLite, obligations are resolved by the id of the transaction's first
                    // record.
                    if self.dialect == Dialect::Sqlite {
                        let id = records.first().map(|record| record.id.to_string());
                        put(Argument::Text(id.as_deref()));
                    }
                });
                let written = writing.await;
                connection.release_if_ok(&written);
                match written {
                    // On SQLite, a success must not resolve another transaction's obligation.
                    Ok(0) if self.dialect == Dialect::Sqlite => {
                        let mut connection =
                            self.connections.acquire().await.map_err(Error::Record)?;
                        self.refuse_open_obligation(&mut connection).await?;
                        connection.release();
                    }
                    Ok(_) => return Ok(()),
                    // A stale connection did not execute the statement; try a fresh one.
                    Err(error) if reused && connection_failed(&error) => {}
                    // A serialization failure: try again.
                    Err(error) if was_rolled_back(&error) => {}
                    Err(error) => return Err(Error::Record(error)),
                }
            }
        })
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// The records as one JSON array, which is a single argument for any number of records.
fn as_json(records: &[AuditRecord]) -> String {
    // Every key is a string and every value is JSON already, so this cannot fail.
    serde_json::to_string(records).unwrap_or_default()
}

/// Postgres' class `transaction_rollback`: refused because of a concurrent transaction, so it can
/// be retried.
fn was_rolled_back(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    let code = error.and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code.starts_with("40"))
}

/// Whether the connection, rather than the statement, failed.
pub(crate) fn connection_failed(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed => true,
        // 57P01 to 57P03: the server is ending the session or is not up; 08: connection exceptions.
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| code.starts_with("57P0") || code.starts_with("08")),
        _ => false,
    }
}
