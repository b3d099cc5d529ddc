//! Guards, the check, the statements and the queries on SQLite. Their SQL is in this folder.

mod check;
mod expected;
mod guard;
mod obligation;
mod query;
mod remedy;
#[cfg(feature = "seal")]
mod seal;
mod statements;

pub(super) use query::SqliteSql;
pub(super) use statements::INSERT;
