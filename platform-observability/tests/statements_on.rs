//! With `TelemetryBuilder::database`, sqlx's statement events are enabled, whatever the log filter.
//! The test is alone in its process, as other tests' subscribers would enable them.

use platform_observability::{Database, Telemetry};

#[test]
fn statement_events_are_enabled_with_a_database() {
    let telemetry = Telemetry::builder("test")
        .console()
        .log_filter("error")
        .database(Database::sqlite())
        .init()
        .unwrap();
    // sqlx checks this before it formats a statement.
    let is_enabled = tracing::enabled!(target: "sqlx::query", tracing::Level::DEBUG);
    assert!(is_enabled);
    drop(telemetry);
}
