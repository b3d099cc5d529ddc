//! The transaction that an audited operation uses.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::TryFutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde::Serialize;
use serde_json::Map;
use sqlx::{Either, Execute, Executor, SqlStr};
use uuid::Uuid;

use crate::auditable::Auditable;
use crate::core::Core;
use crate::error::Error;
use crate::operation::Operation;
use crate::record::{
    Actor, AuditRecord, Change, Outcome, RecordBuilder, as_value, bound_record, created, deleted,
    updated,
};
use crate::store::{AuditDatabase, Store, Transaction};

/// Declares the struct once. Its database parameter defaults to Postgres if that feature is
/// enabled.
macro_rules! declare {
    ($($default:tt)*) => {
        /// A database transaction that cannot be committed without its audit record.
        ///
        /// Handlers and closures borrow it as `&mut AuditTx`; the toolkit begins, records, commits
        /// and rolls back. It is an sqlx executor (`.execute(&mut *tx)`). Savepoints, and libraries
        /// that expect a connection, use [`connection`](AuditTx::connection).
        ///
        /// The transaction begins with the first statement. Until then it holds no connection and
        /// no lock, so validate and call other services before the first statement: a connection
        /// that waits for a slow HTTP response is missing from the pool meanwhile.
        ///
        /// If the transaction cannot begin, for example because no connection is free, that
        /// statement and all later ones fail, the toolkit responds 503, and the attempt is
        /// recorded.
        ///
        /// Each call of [`created`](AuditTx::created), [`updated`](AuditTx::updated),
        /// [`deleted`](AuditTx::deleted) and [`record`](AuditTx::record) adds one record. Without
        /// any, one record of the action itself is written. All records are written by one
        /// statement, the last before COMMIT.
        pub struct AuditTx<DB: AuditDatabase $($default)*> {
            store: Arc<Store<DB>>,
            /// `None` until the first statement.
            transaction: Option<Transaction<DB>>,
            /// Why the transaction could not begin.
            begin_error: Option<Error>,
            operation: Operation,
            builders: Vec<RecordBuilder>,
        }
    };
}
#[cfg(feature = "postgres")]
declare!(= sqlx::Postgres);
#[cfg(not(feature = "postgres"))]
declare!();

impl<DB: AuditDatabase> AuditTx<DB> {
    pub(crate) fn new(store: Arc<Store<DB>>, operation: Operation) -> Self {
        Self {
            store,
            transaction: None,
            begin_error: None,
            operation,
            builders: Vec::new(),
        }
    }

    /// Records that `resource` was created, with its fields.
    pub fn created<T: Auditable + ?Sized>(&mut self, resource: &T) {
        let changes = created(resource);
        self.builder(T::RESOURCE, resource.resource_id(), changes);
    }

    /// Records that `before` became `after`, with the fields that differ.
    pub fn updated<T: Auditable + ?Sized>(&mut self, before: &T, after: &T) {
        let changes = updated(before, after);
        self.builder(T::RESOURCE, after.resource_id(), changes);
    }

    /// Records that `resource` was deleted, with the fields it had.
    pub fn deleted<T: Auditable + ?Sized>(&mut self, resource: &T) {
        let changes = deleted(resource);
        self.builder(T::RESOURCE, resource.resource_id(), changes);
    }

    /// Records that the operation concerned a resource, without its fields.
    pub fn record(
        &mut self,
        resource_type: impl Into<Cow<'static, str>>,
        resource_id: impl ToString,
    ) -> &mut RecordBuilder {
        self.builder(resource_type, resource_id.to_string(), BTreeMap::new())
    }

    /// Adds `value` as `name` to the details of every record of this operation, and to the record
    /// of its attempt if it fails.
    pub fn details(&mut self, name: impl Into<String>, value: impl Serialize) {
        self.operation.details.insert(name.into(), as_value(value));
    }

    /// Sets the reason, in place of the request's `Audit-Reason`.
    pub fn reason(&mut self, reason: impl Into<String>) {
        self.operation.reason = Some(reason.into());
    }

    /// The actor of this operation.
    pub fn actor(&self) -> &Actor {
        &self.operation.actor
    }

    /// The id of this operation's first record, which clients receive as `Audit-Record-Id`.
    pub fn record_id(&self) -> Uuid {
        self.operation.id
    }

    /// The connection, inside the transaction, which begins now if it has not yet:
    /// `tx.connection().await?.begin()` makes a savepoint.
    ///
    /// If the handler ends the transaction through it (`COMMIT`, `ROLLBACK`), the record is refused
    /// and the request fails.
    ///
    /// # Errors
    ///
    /// If the transaction cannot begin: [`sqlx::Error::PoolTimedOut`] if no connection became free
    /// in time, otherwise mostly [`sqlx::Error::Io`]. Every later call fails, too.
    ///
    /// # Cancellation safety
    ///
    /// If the future is dropped, the transaction has either begun or not; the next statement finds
    /// out.
    pub async fn connection(&mut self) -> sqlx::Result<&mut DB::Connection> {
        if self.begin_error.is_none()
            && let Err(error) = self.begin().await
        {
            self.begin_error = Some(error);
        }
        match (&self.begin_error, &mut self.transaction) {
            (None, Some(transaction)) => Ok(transaction.connection()),
            (Some(error), _) => Err(error.of_begin()),
            (None, None) => Err(sqlx::Error::BeginFailed),
        }
    }

    /// Begins the transaction if it has not begun yet.
    async fn begin(&mut self) -> Result<(), Error> {
        if self.transaction.is_none() {
            self.transaction = Some(self.store.begin(self.operation.id).await?);
        }
        Ok(())
    }

    /// Returns the transaction, to write the records and commit.
    ///
    /// # Errors
    ///
    /// If the transaction cannot begin, or could not begin earlier.
    pub(crate) async fn transaction(&mut self) -> Result<&mut Transaction<DB>, Error> {
        if let Some(error) = self.begin_error.take() {
            return Err(error);
        }
        self.begin().await?;
        self.transaction
            .as_mut()
            .ok_or(Error::Begin(sqlx::Error::BeginFailed))
    }

    /// Returns why the transaction could not begin, if an attempt to begin it failed.
    pub(crate) fn take_begin_error(&mut self) -> Option<Error> {
        self.begin_error.take()
    }

    fn builder(
        &mut self,
        resource_type: impl Into<Cow<'static, str>>,
        resource_id: String,
        changes: BTreeMap<String, Change>,
    ) -> &mut RecordBuilder {
        let builder = RecordBuilder {
            action: None,
            resource_type: resource_type.into(),
            resource_id,
            changes,
            details: Map::new(),
        };
        self.builders.push(builder);
        let last = self.builders.len() - 1;
        &mut self.builders[last]
    }

    /// The records of this operation's success.
    pub(crate) fn take_records(&mut self, core: &Core, status: Option<u16>) -> Vec<AuditRecord> {
        let builders = std::mem::take(&mut self.builders);
        if let Some(first) = builders.first() {
            self.operation.resource_type = Some(first.resource_type.clone());
            self.operation.resource_id = Some(first.resource_id.clone());
        }
        let base = core.record(&self.operation, Outcome::Success, status);
        // `vec!` moves the record into the last element, and clones it only for the others.
        let mut records = vec![base; builders.len().max(1)];
        for (at, (record, builder)) in records.iter_mut().zip(builders).enumerate() {
            if at > 0 {
                record.id = Uuid::now_v7();
            }
            if let Some(action) = builder.action {
                record.action = action.into_owned();
            }
            record.resource_type = Some(builder.resource_type.into_owned());
            record.resource_id = Some(builder.resource_id);
            record.changes = builder.changes;
            record.details.extend(builder.details);
        }
        records.iter_mut().for_each(bound_record);
        records
    }

    /// Returns the transaction, if it has begun, and the operation from which to record the
    /// attempt.
    pub(crate) fn into_parts(self) -> (Option<Transaction<DB>>, Operation) {
        let Self {
            transaction,
            mut operation,
            builders,
            ..
        } = self;
        if let Some(first) = builders.into_iter().next() {
            operation.resource_type = Some(first.resource_type);
            operation.resource_id = Some(first.resource_id);
        }
        (transaction, operation)
    }
}

impl<DB: AuditDatabase> std::fmt::Debug for AuditTx<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditTx")
            .field("record_id", &self.operation.id)
            .field("action", &self.operation.action)
            .finish_non_exhaustive()
    }
}

macro_rules! executor {
    ($feature:literal, $database:ty) => {
        #[cfg(feature = $feature)]
        impl<'c> Executor<'c> for &'c mut AuditTx<$database> {
            type Database = $database;

            fn fetch_many<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxStream<
                'e,
                sqlx::Result<
                    Either<
                        <$database as sqlx::Database>::QueryResult,
                        <$database as sqlx::Database>::Row,
                    >,
                >,
            >
            where
                'c: 'e,
                E: 'q + Execute<'q, $database>,
            {
                Box::pin(
                    async move { Ok(self.connection().await?.fetch_many(query)) }
                        .try_flatten_stream(),
                )
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, sqlx::Result<Option<<$database as sqlx::Database>::Row>>>
            where
                'c: 'e,
                E: 'q + Execute<'q, $database>,
            {
                Box::pin(async move { self.connection().await?.fetch_optional(query).await })
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [<$database as sqlx::Database>::TypeInfo],
            ) -> BoxFuture<'e, sqlx::Result<<$database as sqlx::Database>::Statement>>
            where
                'c: 'e,
            {
                Box::pin(
                    async move { self.connection().await?.prepare_with(sql, parameters).await },
                )
            }

            fn describe<'e>(
                self,
                sql: SqlStr,
            ) -> BoxFuture<'e, sqlx::Result<sqlx::Describe<$database>>>
            where
                'c: 'e,
            {
                Box::pin(async move { self.connection().await?.describe(sql).await })
            }
        }
    };
}
executor!("postgres", sqlx::Postgres);
executor!("sqlite", sqlx::Sqlite);
executor!("any", sqlx::Any);
