//! A server that shuts down gracefully.

mod connection;
mod error;
mod request;
mod server;
mod signals;

pub use error::ServeError;
pub use server::{Serve, serve};
