//! What the tests of the workspace share: databases, servers, and what went over the wire.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "support for tests: what goes wrong here fails the test"
)]

#[cfg(feature = "browser")]
pub mod browser;
pub mod database;
pub mod events;
pub mod otlp;
pub mod readers;
pub mod wire;
