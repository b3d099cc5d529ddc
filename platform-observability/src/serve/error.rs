/// Why a server did not end cleanly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The signals that stop the service could not be listened for; nothing was served.
    #[error("the signals that stop the service cannot be listened for; nothing was served")]
    Signals {
        /// Why.
        source: std::io::Error,
    },
    /// A second signal came during the shutdown, which was not completed.
    #[error(
        "a second signal cut the shutdown short: requests, closures or telemetry may be unfinished"
    )]
    Interrupted,
    /// All else went well, but the last telemetry was not exported.
    #[error("the service has stopped, but its last telemetry may be lost")]
    Telemetry {
        /// Why.
        #[from]
        source: crate::Error,
    },
}
