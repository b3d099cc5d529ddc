//! Guards, the check and the queries on SQLite. The SQL is beside the Rust.

mod check;
mod expected;
mod guard;
mod obligation;
mod query;
mod remedy;
mod statements;

pub(super) use query::SqliteSql;
pub(super) use statements::INSERT;
