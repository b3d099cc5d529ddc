//! What a service sends as telemetry, seen from outside it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what goes wrong fails the test"
)]

mod forwarded;
mod otlp;
mod propagation;
mod shutdown;
mod statements;
