//! Without `TelemetryBuilder::database`, sqlx's statement events are disabled and cost nothing. The
//! test is alone in its process, as other tests' subscribers would enable them.

use platform_observability::Telemetry;

#[test]
fn statement_events_are_disabled_without_a_database() {
    let telemetry = Telemetry::builder("test")
        .console()
        .log_filter("error")
        .init()
        .unwrap();
    // sqlx checks this before it formats a statement.
    let is_enabled = tracing::enabled!(target: "sqlx::query", tracing::Level::DEBUG);
    assert!(!is_enabled);
    drop(telemetry);
}
