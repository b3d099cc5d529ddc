//! axum's routing, except that state-changing methods accept only handlers with `#[audited]` or
//! `#[audit_exempt(reason = "…")]`. A handler without either does not compile.
//!
//! [`Router`] wraps axum's and converts into it. [`get`], [`post`] and the other functions mirror
//! `axum::routing`. [`Router::catalogue`] lists every state-changing route with its action, or with
//! the reason for its exemption:
//!
//! ```
//! # #[cfg(feature = "postgres")] {
//! use axum::http::StatusCode;
//! use platform_audit::routing::{Router, delete, get, post};
//! use platform_audit::{AuditTx, audit_exempt, audited};
//!
//! #[audited(action = "entry.delete")]
//! async fn delete_entry(tx: &mut AuditTx) -> StatusCode {
//!     StatusCode::NO_CONTENT
//! }
//!
//! #[audit_exempt(reason = "only computes a preview")]
//! async fn preview() -> &'static str {
//!     "12.00"
//! }
//!
//! async fn health() -> &'static str {
//!     "ok"
//! }
//!
//! let router: Router = Router::new()
//!     .route("/entries/{id}", delete(delete_entry))
//!     .route("/preview", post(preview))
//!     .route("/health", get(health));
//!
//! let actions: Vec<_> = router.catalogue().iter().map(|entry| entry.action()).collect();
//! assert_eq!(actions, [Some("entry.delete"), None]);
//! let app: axum::Router = router.into();
//! # }
//! ```
//!
//! A plain `axum::Router` under [`Audit::layer`](crate::Audit::layer) works too; then the
//! [audit layer](crate::layer) finds unaudited handlers at run time instead.

mod handler;
mod method;
mod router;

pub use crate::action::{Catalogue, CatalogueEntry, Requirement};
pub use handler::AuditedHandler;
pub use method::{MethodRouter, any, delete, get, head, on, options, patch, post, put, trace};
pub use router::Router;
