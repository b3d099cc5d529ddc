//! What only Postgres needs; the SQL is beside it.

mod check;

pub(super) use check::is_undefined;
