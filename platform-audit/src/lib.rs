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
//!     let audit = Audit::new(pool, "accounting").start().await?;
//!     Ok(Router::new().route("/entries", post(create_entry)).layer(audit.layer()).into())
//! }
//! # }
//! ```
//!
//! Where things are: [`Audit`] starts it; [`AuditTx`] is what a handler is lent; [`guard`] is the
//! request guard; [`routing`] the typed router; [`AuditRecord`] what is written.

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
#[cfg(not(any(feature = "postgres", feature = "sqlite")))]
compile_error!(
    "platform-audit needs a store: enable its feature `postgres` (the default) or `sqlite`"
);

mod audit;
mod auditable;
pub mod check;
mod context;
mod error;
mod flood;
pub mod guard;
mod handler;
mod meters;
mod problem;
mod record;
mod request;
pub mod routing;
mod store;
mod tx;
mod work;

pub use audit::{Audit, AuditBuilder};
pub use auditable::Auditable;
pub use context::ActorSource;
pub use error::{Error, TransactionError};
pub use handler::{Audited, Exempt};
pub use meters::AuditStatus;
pub use platform_audit_macros::{Auditable, audit_exempt, audited};
pub use record::{Actor, ActorKind, AuditRecord, Change, InvalidAction, Outcome};
pub use store::AuditDatabase;
pub use tx::{AuditTx, Draft};
