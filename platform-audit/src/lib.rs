//! Audit records in the same transaction as the change they describe.
//!
//! Write [`#[audited]`](audited) on a handler that changes state, and add a `&mut AuditTx`
//! parameter. The handler's change and its record are then committed together or not at all.
//! Failed attempts are recorded too. [`Audit::layer`] replaces the successful response of a handler
//! that wrote no record with an error, and the functions of [`routing`] reject a handler without
//! the attribute at compile time.
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
//! An audited handler can still change data outside its transaction: with raw SQL through the pool,
//! another library, a data migration or `psql`. So the database itself refuses to commit a change
//! of a *guarded* table unless the same transaction wrote a success record (SQLSTATE `AU002`,
//! [`Error::Unaudited`]). Guard a table in the migration that creates it:
//!
//! ```sql
//! CREATE TABLE accounting.entry (…);
//! SELECT accounting_audit.guard('accounting.entry');
//! SELECT accounting_audit.exempt('accounting.job', 'holds no business data'); -- with a reason
//! ```
//!
//! Migrate the audit schema first, with `platform-audit migrate` or [`AuditBuilder::migrate`]. On
//! SQLite, and to try it out, call [`AuditBuilder::guard`] instead. [`AuditBuilder::start`]
//! [checks](check) that every table of the service is guarded or exempt, that all guards are still
//! enabled, and that the service's role cannot disable them. Otherwise the service does not start,
//! except in [development](AuditBuilder::development).
//!
//! Manual SQL writes its record with a function, before or after the change. SQLite has no such
//! function: insert the record after the last change instead.
//!
//! ```sql
//! BEGIN;
//! UPDATE accounting.entry SET amount = 12 WHERE id = 7;
//! SELECT accounting_audit.write_record(actor => 'ada', action => 'entry.repair',
//!     resource_type => 'entry', resource_id => '7', reason => 'ticket 1234');
//! COMMIT;
//! ```
//!
//! Call `guard()` again to repair a guard. This also adds TRUNCATE triggers to partitions that were
//! attached since, as partitions inherit all other triggers, but not these. `unguard('…',
//! 'reason')` removes a guard and records that it did. A data-only restore into a guarded table
//! needs a record in the same transaction.
//!
//! # Features
//!
//! - `postgres` (default) and `sqlite`: the databases; at least one is required.
//! - `any`: sqlx's `Any` driver, which selects the database by URL.
//! - `export`: writes records to files.
//! - `review`: runs queries with an expected result.
//! - `seal`: proves that no record was changed or removed.
//! - `explorer`: a web page for compliance staff.
//!
//! The command `platform-audit` is in the package `platform-audit-cli`.
//!
//! # Where to look
//!
//! - [`Audit`]: the handle, and its [builder](AuditBuilder).
//! - [`AuditTx`]: the transaction that a handler borrows.
//! - [`layer`]: the audit layer.
//! - [`routing`]: the router that accepts only audited handlers.
//! - [`check`]: the checks of the database.
//! - `seal` (feature): the sealed log.
//! - [`AuditRecord`]: the record; [`query`]: how records are read.

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
#[cfg(feature = "seal")]
pub mod seal;
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
