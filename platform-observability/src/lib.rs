//! One line of start-up and one layer that send a service's traces, metrics and logs through
//! OpenTelemetry: to Axiom, to any OTLP collector, or to the console, as the environment says.
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
//!         .layer(telemetry.layer()) // outside of the other layers
//!         .merge(health.router()); // outside of telemetry
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
//!   [`Axiom`] names Axiom in code rather than in the environment.
//! - [`Telemetry::layer`] records each request; [`http`] says what. What is logged with `tracing`
//!   inside a request carries the request's trace id, and so does an audit record.
//! - [`client`] records the requests that the service sends, and [`messaging`] takes a trace through
//!   a message.
//! - [`Telemetry::status`] counts what became of every item; [`Telemetry::log_filter`] changes what is
//!   logged while the service runs.
//! - [`TelemetryBuilder::database`] records what sqlx asks the database, without touching a query.
//! - The process and its tokio runtime are measured by themselves, and pools of connections
//!   by [`Telemetry::observe_pool`].
//! - [`spawn`] takes the trace along into a task.
//! - [`Health`] answers `/livez` and `/readyz`.
//! - [`serve`] drains requests on SIGTERM, then closes what the service holds, and exports the
//!   last telemetry.

mod build_info;
pub mod client;
mod config;
mod console;
#[cfg(test)]
mod conventions;
mod database;
mod error;
mod export;
mod health;
pub mod http;
pub mod messaging;
mod panic;
mod pool;
mod process;
mod propagation;
mod query;
mod serve;
mod spawn;
mod subscriber;
mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tracer;

pub use build_info::BuildInfo;
pub use config::{Axiom, Limits, Signal};
pub use database::Database;
pub use error::Error;
pub use export::{SignalStatus, Spool, Status, Trouble};
pub use health::{Health, Readiness};
pub use pool::PoolUse;
pub use serve::{Serve, ServeError, serve};
pub use spawn::spawn;
pub use subscriber::LogFilter;
pub use telemetry::{Telemetry, TelemetryBuilder};
