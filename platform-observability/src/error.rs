use std::time::Duration;

use thiserror::Error;

use crate::config::Signal;

/// What can go wrong while telemetry starts or stops. No message holds a secret.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A variable holds something that it cannot mean.
    #[error("{variable} {problem}: {remedy}")]
    Variable {
        /// The environment variable.
        variable: String,
        /// What is wrong with it.
        problem: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// The service has no usable name.
    #[error(
        "the service's name is empty: give Telemetry::init the name by which operators know the service"
    )]
    NoServiceName,
    /// The exporter of a signal could not be made.
    #[error("the exporter of {signal} could not be made: {problem}")]
    Exporter {
        /// Which signal.
        signal: Signal,
        /// What the exporter said.
        problem: String,
    },
    /// Another subscriber or another `Telemetry` is installed in this process.
    #[error(
        "telemetry is set up already in this process: call Telemetry::init once, first thing in main, and install no other tracing subscriber"
    )]
    AlreadyInstalled,
    /// What was queued could not all be sent before the deadline.
    #[error(
        "telemetry did not shut down within {0:?}: the endpoint is slow or gone, and what was still queued is lost"
    )]
    ShutdownTimedOut(Duration),
    /// The last export failed.
    #[error("the last {signal} could not be sent: {problem}")]
    Shutdown {
        /// Which signal.
        signal: Signal,
        /// What the exporter said.
        problem: String,
    },
}
