//! Spans and durations of database statements.
//!
//! sqlx emits a `tracing` event with the target `sqlx::query` for each statement, with its text and
//! its duration. A subscriber layer turns each into a client span and a point of
//! `db.client.operation.duration`, by OpenTelemetry's stable conventions for databases. So no query
//! changes, and this crate does not depend on sqlx. The log filter still decides whether the event
//! is also logged; by default it is not.

mod config;
mod keywords;
mod layer;
mod lexer;
mod sanitize;
mod statement;
mod summary;
#[cfg(test)]
mod tests;

pub use config::Database;
pub(crate) use layer::StatementLayer;
pub(crate) use statement::{Statement, is_statement};
