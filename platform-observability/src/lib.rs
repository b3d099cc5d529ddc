//! Exports a service's traces, metrics and logs through OpenTelemetry, with one line of start-up
//! and one layer: to Axiom, to any OTLP collector, or to the console, as the environment selects.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use platform_observability::{Health, Telemetry, serve};
//! # #[derive(Clone)] struct Pool;
//! # impl Pool {
//! #     async fn connect() -> Result<Self, std::io::Error> { Ok(Self) }
//! #     async fn ping(&self) -> Result<(), std::io::Error> { Ok(()) }
//! #     async fn close(&self) {}
//! # }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let telemetry = Telemetry::init("accounting")?; // the first line of main
//!     let pool = Pool::connect().await?;
//!     let postgres = pool.clone();
//!     let health = Health::new().check("postgres", async move || postgres.ping().await);
//!
//!     let app = Router::new()
//!         .route("/", get(async || "hello"))
//!         .layer(telemetry.layer()) // outside all other layers
//!         .merge(health.router()); // outside telemetry
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     serve(listener, app)
//!         .with_health(&health)
//!         .on_shutdown(async move || pool.close().await)
//!         .with_telemetry(telemetry)
//!         .run()
//!         .await?;
//!     Ok(())
//! }
//! ```
//!
//! - [`Telemetry::init`] sets up traces, metrics and logs, and lists the variables that it reads;
//!   [`Axiom`] configures Axiom in code rather than in the environment.
//! - [`Telemetry::layer`] records each request; see [`http::HttpLayer`]. Events that are logged
//!   with `tracing` inside a request have the request's trace id, and so have audit records.
//! - [`Telemetry::client_layer`] records the requests that the service sends; see
//!   [`http::HttpClientLayer`]. [`messaging`] propagates traces through messages.
//! - [`Telemetry::status`] counts all items by outcome; [`Telemetry::log_filter`] changes the
//!   log filter at runtime.
//! - [`TelemetryBuilder::database`] records sqlx's statements without changing a query.
//! - Metrics of the process and its tokio runtime are recorded automatically, those of connection
//!   pools by [`Telemetry::observe_pool`].
//! - [`spawn`] propagates the trace into a task.
//! - [`Health`] provides `/livez` and `/readyz`.
//! - [`serve`] drains requests on SIGTERM, then closes the service's resources, and exports the
//!   last telemetry.

mod build_info;
mod config;
mod console;
#[cfg(test)]
mod conventions;
mod database;
mod error;
mod export;
mod health;
pub mod http;
mod instrumentation;
pub mod messaging;
mod panic;
mod pool;
mod process;
mod propagation;
mod serve;
mod signal;
mod spawn;
mod subscriber;
mod sync;
mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tracer;

pub use build_info::BuildInfo;
pub use config::{Axiom, Limits};
pub use database::Database;
pub use error::Error;
pub use export::{LastError, SignalStatus, Spool, Status};
pub use health::{Health, Readiness};
pub use pool::PoolState;
pub use serve::{Serve, ServeError, serve};
pub use signal::{PerSignal, Signal};
pub use spawn::spawn;
pub use subscriber::LogFilter;
pub use telemetry::{Telemetry, TelemetryBuilder};
