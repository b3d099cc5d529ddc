//! One line of start-up and one layer that send a service's traces, metrics and logs through
//! OpenTelemetry: to Axiom, to any OTLP endpoint, or to the console, as the environment says.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use platform_observability::Telemetry;
//!
//! let telemetry = Telemetry::init("accounting")?;
//! let app: Router = Router::new()
//!     .route("/", get(async || "hello"))
//!     .layer(telemetry.layer());
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! axum::serve(listener, app).await?;
//! telemetry.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Where things are: [`Telemetry`] starts and stops it; [`http`] is the layer; [`Axiom`] names
//! Axiom in code rather than by the environment.

mod config;
mod error;
mod export;
pub mod http;
mod subscriber;
mod telemetry;

pub use config::{Axiom, Signal};
pub use error::Error;
pub use telemetry::{Telemetry, TelemetryBuilder};
