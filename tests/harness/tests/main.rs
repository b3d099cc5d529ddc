//! What the other tests stand on: their databases, and the proxy that sees their messages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what goes wrong fails the test"
)]

mod database;
mod wire;
