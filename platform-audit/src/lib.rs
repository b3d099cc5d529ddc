//! Audit records in the same transaction as the change they describe.
//!
//! Write [`#[audited]`](audited) on a handler that changes state and take a `&mut AuditTx`. Its
//! change and its record are then committed together or not at all, attempts that failed are
//! recorded too, and [`Audit::layer`] refuses the answer of a handler that forgot. The functions
//! of [`routing`] find a forgotten handler while compiling.
//!
//! ```
//! # #[cfg(feature = "postgres")] mod example {
//! use axum::{Json, http::StatusCode};
//! use platform_audit::{Audit, AuditTx, Auditable, audited, routing::{Router, post}};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Auditable, Serialize, Deserialize)]
//! #[audit(resource = "entry")]
//! struct Entry {
//!     #[audit(id)]
//!     id: i64,
//!     amount: i64,
//!     #[audit(redact)]
//!     iban: String,
//! }
//!
//! #[audited(action = "entry.create")]
//! async fn create_entry(tx: &mut AuditTx, Json(entry): Json<Entry>) -> Result<StatusCode, StatusCode> {
//!     sqlx::query("INSERT INTO entry (id, amount, iban) VALUES ($1, $2, $3)")
//!         .bind(entry.id).bind(entry.amount).bind(&entry.iban)
//!         .execute(&mut *tx)
//!         .await
//!         .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
//!     tx.created(&entry);
//!     Ok(StatusCode::CREATED)
//! }
//!
//! async fn app(pool: sqlx::PgPool) -> Result<axum::Router, platform_audit::Error> {
//!     let audit = Audit::builder(pool, "accounting").start().await?;
//!     Ok(Router::new().route("/entries", post(create_entry)).layer(audit.layer()).into())
//! }
//! # }
//! ```
//!
//! # Guarded tables
//!
//! A handler can be audited and still go round the toolkit: raw SQL through the pool, another
//! library, a data migration, `psql`. So the database itself refuses to commit a change of a
//! *guarded* table unless the same transaction holds a success record (SQLSTATE `AU002`,
//! [`Error::Unaudited`]). Say which tables these are in the migration that makes them:
//!
//! ```sql
//! CREATE TABLE accounting.entry (…);
//! SELECT accounting_audit.guard('accounting.entry');
//! SELECT accounting_audit.exempt('accounting.job', 'holds no business data'); -- with its reason
//! ```
//!
//! and bring the audit schema up to date before, with `platform-audit migrate` or
//! [`AuditBuilder::migrate`]. On SQLite, and for a first try, [`AuditBuilder::guard`] does it.
//! [`AuditBuilder::start`] then [checks](check) that every table of the service is guarded or
//! exempt, that nothing has been switched off since, and that the service's role cannot do so;
//! otherwise the service does not start, except in [development](AuditBuilder::development).
//!
//! SQL by hand writes its record with a function, before or after the change (on SQLite there
//! is none; there the record is an INSERT, after the last change):
//!
//! ```sql
//! BEGIN;
//! UPDATE accounting.entry SET amount = 12 WHERE id = 7;
//! SELECT accounting_audit.write_record(actor => 'ada', action => 'entry.repair',
//!     resource_type => 'entry', resource_id => '7', reason => 'ticket 1234');
//! COMMIT;
//! ```
//!
//! `guard()` again repairs a guard; it also gives TRUNCATE triggers to partitions that were
//! attached since, which do not inherit them as they do the others. `unguard('…', 'why')` takes
//! it, and leaves a record of it. A data-only restore into a guarded table needs a record
//! of its own, in the same transaction.
//!
//! # Features
//!
//! `postgres` (default) and `sqlite`: the stores, at least one. `any`: sqlx's driver that chooses by the
//! URL. `export`: records in files. `review`: questions with the answer that is expected. `explorer`: the
//! page for compliance. The command `platform-audit` is the package `platform-audit-cli`.
//!
//! Where things are: [`Audit`] starts it; [`check`] finds what would break the promise; [`AuditTx`] is what a handler is lent; [`layer`] is the
//! request guard; [`routing`] the typed router; [`AuditRecord`] what is written, and [`query`] how it is read.

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
#[cfg(not(any(feature = "postgres", feature = "sqlite")))]
compile_error!(
    "platform-audit needs a store: enable its feature `postgres` (the default) or `sqlite`"
);

mod action;
mod actor_source;
mod audit;
mod auditable;
mod builder;
pub mod check;
mod core;
mod error;
#[cfg(feature = "explorer")]
pub mod explorer;
#[cfg(feature = "export")]
pub mod export;
mod handler;
pub mod layer;
mod lock;
mod metrics;
mod operation;
pub mod query;
mod rate_limit;
mod record;
mod request;
#[cfg(feature = "review")]
pub mod review;
pub mod routing;
mod sql;
mod store;
pub mod text;
mod transaction;

pub use actor_source::ActorSource;
pub use audit::Audit;
pub use auditable::Auditable;
pub use builder::AuditBuilder;
pub use error::{Error, TransactionError};
pub use handler::{Audited, Exempt};
pub use metrics::AuditStatus;
pub use platform_audit_macros::{Auditable, audit_exempt, audited};
pub use record::{Actor, ActorKind, AuditRecord, Change, InvalidAction, Outcome, RecordBuilder};
pub use store::AuditDatabase;
pub use transaction::AuditTx;
