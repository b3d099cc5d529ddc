//! The check, the statements and the queries on Postgres. Their SQL is in this folder.

mod check;
mod query;
#[cfg(feature = "seal")]
mod seal;
mod statements;

pub(super) use check::is_undefined;
pub(super) use query::PostgresSql;
pub(super) use statements::{INSERT, INSERT_ONE, INSERT_SEVERAL, insert_one};
