//! One line of start-up and one layer that send a service's traces, metrics and logs through
//! OpenTelemetry: to Axiom, to any OTLP collector, or to the console, as the environment says.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use platform_observability::Telemetry;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let telemetry = Telemetry::init("accounting")?; // the first line of main
//!
//! let app: Router = Router::new()
//!     .route("/", get(async || "hello"))
//!     .layer(telemetry.layer()); // outside of the other layers
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, app).await?;
//!
//! telemetry.shutdown().await?; // the last
//! # Ok(())
//! # }
//! ```
//!
//! [`Telemetry::init`] lists the variables that it reads; [`http`] says what the layer records;
//! [`Axiom`] names Axiom in code rather than in the environment. What is logged with `tracing`
//! inside a request carries the request's trace id, and so does an audit record.

mod config;
mod error;
mod export;
mod health;
pub mod http;
mod spawn;
mod subscriber;
mod telemetry;

pub use config::{Axiom, Signal};
pub use error::Error;
pub use health::{Health, Readiness};
pub use spawn::spawn;
pub use telemetry::{Telemetry, TelemetryBuilder};
