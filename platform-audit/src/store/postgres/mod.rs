//! The check on Postgres. The SQL is beside the Rust.

mod check;
mod statements;

pub(super) use check::is_undefined;
pub(super) use statements::{INSERT, INSERT_ONE, INSERT_SEVERAL, ROW, insert_one};
