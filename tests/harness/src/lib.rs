//! Support for the tests of the workspace: databases, an OTLP receiver, a Postgres proxy, captured
//! events, a browser, and readers of exports.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "support for tests: a failure here fails the test"
)]

#[cfg(feature = "browser")]
pub mod browser;
pub mod database;
pub mod events;
pub mod otlp;
pub mod readers;
pub mod wire;
