//! Without a database, sqlx is told that nobody listens: a statement costs nothing more. Alone in its
//! process, as the subscribers of other tests would be asked too.

use platform_observability::Telemetry;

#[test]
fn sqlx_is_told_whether_anybody_listens() {
    let telemetry = Telemetry::builder("test")
        .console()
        .log_filter("error")
        .init()
        .unwrap();
    // As sqlx asks.
    let asked = tracing::enabled!(target: "sqlx::query", tracing::Level::DEBUG);
    assert!(!asked);
    drop(telemetry);
}
