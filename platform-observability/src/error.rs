use std::time::Duration;

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why telemetry could not be started, or not be stopped cleanly.
///
/// No message holds a secret: of tokens and headers only the variable's name is said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An environment variable holds what it cannot mean.
    #[error("{variable} {problem}: {remedy}")]
    Variable {
        /// The variable's name.
        variable: String,
        /// What is wrong with its value.
        problem: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// A setting made in code holds what it cannot mean.
    #[error("the telemetry setting `{setting}` {problem}: {remedy}")]
    Setting {
        /// The method, such as `otlp`.
        setting: &'static str,
        /// What is wrong with its value.
        problem: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// Telemetry was set up before in this process.
    #[error("telemetry is set up already in this process: call init once, at the start of main")]
    AlreadyInitialized,
    /// Something else set a global `tracing` subscriber first.
    #[error(
        "a global tracing subscriber is set already: remove what sets it, as telemetry sets its own"
    )]
    SubscriberInstalled,
    /// The HTTP client of the exporters could not be made.
    #[error(
        "the exporters' HTTP client cannot be made; if no certificate authority was found, install ca-certificates or set SSL_CERT_FILE"
    )]
    Client {
        /// Why.
        source: Source,
    },
    /// The certificates or the key of an endpoint cannot be read.
    #[error(
        "the certificates or the key for the {signal} cannot be read: check the files that OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY name, or the signal's own"
    )]
    Certificates {
        /// The signal.
        signal: crate::Signal,
        /// Why.
        source: Source,
    },
    /// An exporter could not be made.
    #[error("the exporter of {signal} cannot be made")]
    Exporter {
        /// The signal.
        signal: crate::Signal,
        /// Why.
        source: Source,
    },
    /// A thread could not be started.
    #[error("a thread for telemetry cannot be started")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
    /// What was left at shutdown could not be exported, and is lost.
    #[error("the last export failed, what was left is lost ({failures})")]
    Shutdown {
        /// The signals, each with what its exporter said.
        failures: String,
    },
    /// The self-test found that an endpoint does not take what it is sent.
    #[error(
        "telemetry does not arrive: {failures}; check the endpoint's URL, the token and the dataset"
    )]
    SelfTest {
        /// The signals, each with how much was lost, and why.
        failures: String,
    },
    /// What was left at shutdown was not taken in time; some of it may be lost.
    #[error("telemetry was not shut down within {deadline:?}: what was left may be lost")]
    ShutdownTimedOut {
        /// How long it was given.
        deadline: Duration,
    },
}
