//! What a service sends as telemetry, seen from outside it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what goes wrong fails the test"
)]

mod otlp;
mod shutdown;
mod statements;
