//! The transaction that is lent to audited work.

use std::borrow::Cow;
use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde::Serialize;
use serde_json::Map;
use sqlx::{Either, Execute, Executor, SqlStr};
use uuid::Uuid;

use crate::auditable::Auditable;
use crate::core::Core;
use crate::operation::Operation;
use crate::record::{
    Actor, AuditRecord, Change, Outcome, RecordBuilder, as_value, bound_record, created, deleted,
    updated,
};
use crate::store::{AuditDatabase, Transaction};

/// Declares the struct once; its database defaults to Postgres where that is compiled in.
macro_rules! declare {
    ($($default:tt)*) => {
        /// A database transaction that cannot be committed without its audit record.
        ///
        /// It is lent to the work as `&mut AuditTx`: what begins, records, commits and rolls back
        /// is the toolkit. It is an sqlx executor (`.execute(&mut *tx)`); for savepoints and for
        /// libraries that want a connection there is [`connection`](AuditTx::connection).
        ///
        /// Each call of [`created`](AuditTx::created), [`updated`](AuditTx::updated),
        /// [`deleted`](AuditTx::deleted) and [`record`](AuditTx::record) makes one record;
        /// without any, one record of the action itself is made. All of them are written in one
        /// statement, as the last before COMMIT.
        pub struct AuditTx<DB: AuditDatabase $($default)*> {
            transaction: Transaction<DB>,
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
    pub(crate) fn new(transaction: Transaction<DB>, operation: Operation) -> Self {
        Self {
            transaction,
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

    /// Records that the work concerned a resource, without its fields.
    pub fn record(
        &mut self,
        resource_type: impl Into<Cow<'static, str>>,
        resource_id: impl ToString,
    ) -> &mut RecordBuilder {
        self.builder(resource_type, resource_id.to_string(), BTreeMap::new())
    }

    /// Keeps `value` under `name` in the details of every record of this work, and of its
    /// attempt should it fail.
    pub fn details(&mut self, name: impl Into<String>, value: impl Serialize) {
        self.operation.details.insert(name.into(), as_value(value));
    }

    /// Says why, in place of the request's `Audit-Reason`.
    pub fn reason(&mut self, reason: impl Into<String>) {
        self.operation.reason = Some(reason.into());
    }

    /// Who acts.
    pub fn actor(&self) -> &Actor {
        &self.operation.actor
    }

    /// The id of the first record of this work, which the client sees as `Audit-Record-Id`.
    pub fn record_id(&self) -> Uuid {
        self.operation.id
    }

    /// The connection itself, inside the transaction: `connection().begin()` makes a savepoint.
    ///
    /// Work that ends the transaction through it (`COMMIT`, `ROLLBACK`) is refused its record.
    pub fn connection(&mut self) -> &mut DB::Connection {
        self.transaction.connection()
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

    /// The records of this work's success.
    pub(crate) fn take_records(&mut self, core: &Core, status: Option<u16>) -> Vec<AuditRecord> {
        let builders = std::mem::take(&mut self.builders);
        if let Some(first) = builders.first() {
            self.operation.resource_type = Some(first.resource_type.clone());
            self.operation.resource_id = Some(first.resource_id.clone());
        }
        let base = core.record(&self.operation, Outcome::Success, status);
        // `vec!` moves it into its last place, and copies it for the others only.
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

    /// Ends the lending: the transaction, and the operation as its attempt would be recorded.
    pub(crate) fn into_parts(self) -> (Transaction<DB>, Operation) {
        let Self {
            transaction,
            mut operation,
            builders,
        } = self;
        if let Some(first) = builders.into_iter().next() {
            operation.resource_type = Some(first.resource_type);
            operation.resource_id = Some(first.resource_id);
        }
        (transaction, operation)
    }

    pub(crate) fn transaction(&mut self) -> &mut Transaction<DB> {
        &mut self.transaction
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
                self.connection().fetch_many(query)
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, sqlx::Result<Option<<$database as sqlx::Database>::Row>>>
            where
                'c: 'e,
                E: 'q + Execute<'q, $database>,
            {
                self.connection().fetch_optional(query)
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [<$database as sqlx::Database>::TypeInfo],
            ) -> BoxFuture<'e, sqlx::Result<<$database as sqlx::Database>::Statement>>
            where
                'c: 'e,
            {
                self.connection().prepare_with(sql, parameters)
            }

            fn describe<'e>(
                self,
                sql: SqlStr,
            ) -> BoxFuture<'e, sqlx::Result<sqlx::Describe<$database>>>
            where
                'c: 'e,
            {
                self.connection().describe(sql)
            }
        }
    };
}
executor!("postgres", sqlx::Postgres);
executor!("sqlite", sqlx::Sqlite);
executor!("any", sqlx::Any);
