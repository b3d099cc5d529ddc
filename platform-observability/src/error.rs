use std::time::Duration;

use crate::signal::Signal;

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// An error at the start or the shutdown of telemetry, or of its self-test.
///
/// No message contains a secret: tokens and headers are named only by their variable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An environment variable has an invalid value.
    #[error("{variable} {problem}: {remedy}")]
    Variable {
        /// The variable's name.
        variable: String,
        /// The problem with its value.
        problem: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// A setting made in code is invalid.
    #[error("the telemetry setting `{setting}` {problem}: {remedy}")]
    Setting {
        /// The method, such as `otlp`.
        setting: &'static str,
        /// The problem with its value.
        problem: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// Telemetry was already set up in this process.
    #[error("telemetry is already set up in this process: call init once, at the start of main")]
    AlreadyInitialized,
    /// A global `tracing` subscriber was already set.
    #[error(
        "a global tracing subscriber is already set: remove the code that sets it, as telemetry sets its own"
    )]
    SubscriberInstalled,
    /// The exporters' HTTP client could not be created.
    #[error(
        "cannot create the exporters' HTTP client; if no certificate authority was found, install ca-certificates or set SSL_CERT_FILE"
    )]
    Client {
        /// The cause.
        source: Source,
    },
    /// An endpoint's certificates or key could not be read.
    #[error(
        "cannot read the certificates or the key for {signal}: check the files named by OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY, or by the signal's own variables"
    )]
    Certificates {
        /// The signal.
        signal: Signal,
        /// The cause.
        source: Source,
    },
    /// An exporter could not be created.
    #[error("cannot create the exporter for {signal}: check the endpoint's URL")]
    Exporter {
        /// The signal.
        signal: Signal,
        /// The cause.
        source: Source,
    },
    /// A thread could not be started.
    #[error("cannot start a thread for telemetry: raise the process's limit of threads or memory")]
    Thread {
        /// The cause.
        source: std::io::Error,
    },
    /// The last export failed during shutdown; the telemetry that was still queued is lost.
    #[error(
        "the last export failed, and the queued telemetry is lost ({failures}): check the endpoint, or configure a spool"
    )]
    Shutdown {
        /// The signals, each with its exporter's error.
        failures: String,
    },
    /// The self-test found an endpoint that does not accept telemetry.
    #[error(
        "telemetry is not accepted: {failures}; check the endpoint's URL, the token and the dataset"
    )]
    SelfTest {
        /// The signals, each with the number of lost items and the reason.
        failures: String,
    },
    /// The shutdown exceeded its timeout; some telemetry may be lost.
    #[error(
        "telemetry was not shut down within {timeout:?}: queued telemetry may be lost; raise the shutdown timeout, or check the endpoint"
    )]
    ShutdownTimedOut {
        /// The timeout.
        timeout: Duration,
    },
}

impl Error {
    pub(crate) fn variable(
        variable: impl Into<String>,
        problem: impl Into<String>,
        remedy: &'static str,
    ) -> Self {
        Self::Variable {
            variable: variable.into(),
            problem: problem.into(),
            remedy,
        }
    }

    pub(crate) fn setting(
        setting: &'static str,
        problem: impl Into<String>,
        remedy: &'static str,
    ) -> Self {
        Self::Setting {
            setting,
            problem: problem.into(),
            remedy,
        }
    }
}
