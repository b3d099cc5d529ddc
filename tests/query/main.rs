//! The query API, on both stores.
#![allow(
    clippy::duplicate_mod,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the same tests run on both stores, and a panic fails the test"
)]

mod postgres;
mod sqlite;
