use crate::error::Error;

/// The error of a server that did not start, or did not shut down cleanly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The handlers for SIGTERM and SIGINT could not be installed; nothing was served.
    #[error("cannot listen for the signals that stop the service; nothing was served")]
    Signals {
        /// The cause.
        source: std::io::Error,
    },
    /// A second signal interrupted the shutdown.
    #[error(
        "a second signal interrupted the shutdown: requests, shutdown hooks or telemetry may be incomplete"
    )]
    Interrupted,
    /// Only the last export of telemetry failed.
    #[error("the service has stopped, but its last telemetry may be lost")]
    Telemetry {
        /// The cause.
        #[from]
        source: Error,
    },
}
