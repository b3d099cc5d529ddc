//! axum's routing, with one difference: a method that changes state takes only handlers that are
//! `#[audited]` or `#[audit_exempt(reason = "…")]`, so that a forgotten record does not compile.
//!
//! [`Router`] wraps axum's and turns into it; [`get`], [`post`] and the others mirror
//! `axum::routing`. As the router knows method, path and action together,
//! [`Router::catalogue`] lists every state-changing route with its action, or with the reason why
//! it has none.
//!
//! A plain `axum::Router` under [`Audit::layer`](crate::Audit::layer) works too; it is held by the
//! [guard](crate::layer) instead of the compiler.

mod handler;
mod method;
mod router;

pub use crate::action::{Catalogue, CatalogueEntry, Requirement};
pub use handler::AuditedHandler;
pub use method::{MethodRouter, any, delete, get, head, on, options, patch, post, put, trace};
pub use router::Router;
