//! The check on Postgres. The SQL is beside the Rust.

mod check;

pub(super) use check::is_undefined;
