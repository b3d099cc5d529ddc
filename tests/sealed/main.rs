//! The sealed log: each harm that the owner of the database, or of the published files, can do to
//! it, and its report. The tests in `cases` run on both databases.
#![allow(
    clippy::duplicate_mod,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "one body runs over both stores, and what goes wrong fails the test"
)]

mod postgres;
mod sqlite;
