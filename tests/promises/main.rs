//! The guarantees of auditing. The tests in `cases` run on both databases.
#![allow(
    clippy::duplicate_mod,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "one body runs over both stores, and what goes wrong fails the test"
)]

mod postgres;
mod sqlite;
