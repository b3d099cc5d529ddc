//! Telemetry for Rust services.
