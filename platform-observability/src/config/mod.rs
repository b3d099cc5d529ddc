//! The configuration of telemetry: from the builder, else from the environment.

mod axiom;
mod batch;
mod env;
mod exporter;
mod limits;
mod otlp;
mod propagators;
mod resolve;
mod resource;
mod sampler;
#[cfg(test)]
mod tests;
mod tls;

pub use axiom::Axiom;
pub(crate) use batch::BatchConfig;
pub(crate) use env::Env;
pub(crate) use exporter::{Endpoint, Exporter};
pub use limits::Limits;
pub(crate) use resolve::{Config, ExporterChoice};
pub(crate) use resource::resource;
pub(crate) use tls::Tls;
