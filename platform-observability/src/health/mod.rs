//! Liveness and readiness routes for orchestrators and load balancers.

mod check;
mod readiness;
mod redaction;
mod report;
mod routes;
#[cfg(test)]
mod tests;

pub use readiness::Readiness;
pub use routes::Health;
