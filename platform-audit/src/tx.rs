//! The transaction that is lent to audited work.

use std::borrow::Cow;
use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::{Either, Execute, Executor, SqlStr};
use uuid::Uuid;

use crate::auditable::Auditable;
use crate::context::{Core, Unit};
use crate::record::{
    Actor, AuditRecord, Change, InvalidAction, Outcome, bound_record, check_action, created,
    deleted, updated,
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
            unit: Unit,
            drafts: Vec<Draft>,
        }
    };
}
#[cfg(feature = "postgres")]
declare!(= sqlx::Postgres);
#[cfg(not(feature = "postgres"))]
declare!();

/// A record in the making, for [`AuditTx::record`].
#[derive(Debug)]
pub struct Draft {
    action: Option<Cow<'static, str>>,
    resource_type: Cow<'static, str>,
    resource_id: String,
    changes: BTreeMap<String, Change>,
    details: Map<String, Value>,
}

impl Draft {
    /// Names what was done to this resource, where that differs from the whole work's action.
    ///
    /// # Errors
    ///
    /// When `action` is not `noun.verb`; the work's own action stays then.
    pub fn action(
        &mut self,
        action: impl Into<Cow<'static, str>>,
    ) -> Result<&mut Self, InvalidAction> {
        let action = action.into();
        check_action(&action)?;
        self.action = Some(action);
        Ok(self)
    }

    /// Keeps `value` in this record's details under `name`.
    pub fn detail(&mut self, name: impl Into<String>, value: impl Serialize) -> &mut Self {
        self.details.insert(name.into(), as_value(value));
        self
    }
}

impl<DB: AuditDatabase> AuditTx<DB> {
    pub(crate) fn new(transaction: Transaction<DB>, unit: Unit) -> Self {
        Self {
            transaction,
            unit,
            drafts: Vec::new(),
        }
    }

    /// Records that `resource` was created, with its fields.
    pub fn created<T: Auditable + ?Sized>(&mut self, resource: &T) {
        let changes = created(resource);
        self.draft(T::RESOURCE, resource.resource_id(), changes);
    }

    /// Records that `before` became `after`, with the fields that differ.
    pub fn updated<T: Auditable + ?Sized>(&mut self, before: &T, after: &T) {
        let changes = updated(before, after);
        self.draft(T::RESOURCE, after.resource_id(), changes);
    }

    /// Records that `resource` was deleted, with the fields it had.
    pub fn deleted<T: Auditable + ?Sized>(&mut self, resource: &T) {
        let changes = deleted(resource);
        self.draft(T::RESOURCE, resource.resource_id(), changes);
    }

    /// Records that the work concerned a resource, without its fields.
    pub fn record(
        &mut self,
        resource_type: impl Into<Cow<'static, str>>,
        resource_id: impl ToString,
    ) -> &mut Draft {
        self.draft(resource_type, resource_id.to_string(), BTreeMap::new())
    }

    /// Keeps `value` under `name` in the details of every record of this work, and of its
    /// attempt should it fail.
    pub fn details(&mut self, name: impl Into<String>, value: impl Serialize) {
        self.unit.details.insert(name.into(), as_value(value));
    }

    /// Says why, in place of the request's `Audit-Reason`.
    pub fn reason(&mut self, reason: impl Into<String>) {
        self.unit.reason = Some(reason.into());
    }

    /// Who acts.
    pub fn actor(&self) -> &Actor {
        &self.unit.actor
    }

    /// The id of the first record of this work, which the client sees as `Audit-Record-Id`.
    pub fn record_id(&self) -> Uuid {
        self.unit.id
    }

    /// The connection itself, inside the transaction: `connection().begin()` makes a savepoint.
    ///
    /// Work that ends the transaction through it (`COMMIT`, `ROLLBACK`) is refused its record.
    pub fn connection(&mut self) -> &mut DB::Connection {
        self.transaction.connection()
    }

    fn draft(
        &mut self,
        resource_type: impl Into<Cow<'static, str>>,
        resource_id: String,
        changes: BTreeMap<String, Change>,
    ) -> &mut Draft {
        let draft = Draft {
            action: None,
            resource_type: resource_type.into(),
            resource_id,
            changes,
            details: Map::new(),
        };
        self.drafts.push(draft);
        let last = self.drafts.len() - 1;
        &mut self.drafts[last]
    }

    /// The records of this work's success.
    pub(crate) fn take_records(&mut self, core: &Core, status: Option<u16>) -> Vec<AuditRecord> {
        let drafts = std::mem::take(&mut self.drafts);
        if let Some(first) = drafts.first() {
            self.unit.resource_type = Some(first.resource_type.clone());
            self.unit.resource_id = Some(first.resource_id.clone());
        }
        let base = core.record(&self.unit, Outcome::Success, status);
        // `vec!` moves it into its last place, and copies it for the others only.
        let mut records = vec![base; drafts.len().max(1)];
        for (at, (record, draft)) in records.iter_mut().zip(drafts).enumerate() {
            if at > 0 {
                record.id = Uuid::now_v7();
            }
            if let Some(action) = draft.action {
                record.action = action.into_owned();
            }
            record.resource_type = Some(draft.resource_type.into_owned());
            record.resource_id = Some(draft.resource_id);
            record.changes = draft.changes;
            record.details.extend(draft.details);
        }
        records.iter_mut().for_each(bound_record);
        records
    }

    /// Ends the lending: the transaction, and the unit as its attempt would be recorded.
    pub(crate) fn into_parts(self) -> (Transaction<DB>, Unit) {
        let Self {
            transaction,
            mut unit,
            drafts,
        } = self;
        if let Some(first) = drafts.into_iter().next() {
            unit.resource_type = Some(first.resource_type);
            unit.resource_id = Some(first.resource_id);
        }
        (transaction, unit)
    }

    pub(crate) fn transaction(&mut self) -> &mut Transaction<DB> {
        &mut self.transaction
    }
}

impl<DB: AuditDatabase> std::fmt::Debug for AuditTx<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditTx")
            .field("record_id", &self.unit.id)
            .field("action", &self.unit.action)
            .finish_non_exhaustive()
    }
}

fn as_value(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_else(|_| Value::from("[not representable as JSON]"))
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
