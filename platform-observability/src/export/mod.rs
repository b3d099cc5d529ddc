//! Export over OTLP/HTTP. Each signal is exported on a thread of its own, which the SDK starts, so
//! no runtime is needed.
//!
//! ```text
//! queue → SDK processor → exporters → delivery ┬→ transport → endpoint
//!                                              └→ spool → spooler → transport → endpoint
//! ```

mod backoff;
mod deadline;
mod delivery;
mod exporters;
mod metric_exporter;
mod metrics;
mod providers;
mod queue;
mod request;
mod response;
mod self_test;
mod shutdown;
mod shutdown_flag;
mod size;
mod spool;
mod spool_directory;
mod spooler;
mod stats;
mod status;
#[cfg(test)]
mod tests;
mod thread;
mod transport;
mod truncation;

#[cfg(test)]
pub(crate) use metrics::observe_every_outcome;
pub(crate) use providers::Providers;
pub use spool_directory::Spool;
pub(crate) use stats::ExportStats;
pub use status::{LastError, SignalStatus, Status};
