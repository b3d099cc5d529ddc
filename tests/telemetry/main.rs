//! The telemetry of a service, as a receiver outside the process sees it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here fails the test"
)]

mod environment;
mod forwarded;
mod otlp;
mod propagation;
mod shutdown;
mod statements;
