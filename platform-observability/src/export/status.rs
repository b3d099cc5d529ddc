//! The public view of the counters.

use std::time::SystemTime;

use crate::signal::PerSignal;

/// Counts of the process's telemetry so far, by signal and outcome; from
/// [`Telemetry::status`](crate::Telemetry::status).
pub type Status = PerSignal<SignalStatus>;

/// Counts of the items of one signal, by outcome. Each item is in exactly one of the counts, except
/// for `retries`, which counts requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalStatus {
    /// Items that are queued or being sent. Data points of metrics are never queued.
    pub waiting: u64,
    /// Items that the endpoint accepted.
    pub exported: u64,
    /// Items on disk that the endpoint has not accepted yet, those of earlier processes included.
    pub spooled: u64,
    /// Items that were dropped because the queue was full.
    pub dropped_queue_full: u64,
    /// Items that were dropped because the endpoint did not accept them in time, or at all.
    pub dropped_failed: u64,
    /// Items that the endpoint rejected while it accepted others (OTLP's `partial_success`).
    pub rejected: u64,
    /// How many times a request was sent again.
    pub retries: u64,
    /// The endpoint's error; `None` while it accepts requests.
    pub last_error: Option<LastError>,
}

/// The error of an endpoint that does not accept requests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastError {
    /// When the endpoint began to fail.
    pub since: SystemTime,
    /// The latest error, such as `429 Too Many Requests`. It contains none of the telemetry.
    pub reason: String,
}
