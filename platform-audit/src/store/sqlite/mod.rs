//! Guards and the check on SQLite. The SQL is beside the Rust.

mod check;
mod expected;
mod guard;
mod obligation;
mod remedy;
mod statements;

pub(super) use statements::{INSERT, ROW};
