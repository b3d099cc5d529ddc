//! Metrics of connection pools, by OpenTelemetry's conventions for database clients.

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use opentelemetry_semantic_conventions::{attribute as attr, metric};

/// The state of a connection pool, for
/// [`Telemetry::observe_pool`](crate::Telemetry::observe_pool).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// The number of open connections.
    pub size: u32,
    /// The number of idle connections.
    pub idle: usize,
    /// The maximum number of connections.
    pub max: u32,
}

/// Observes the pool `name` at each export, until `read` returns `None`.
pub(crate) fn observe(
    meter: &Meter,
    name: &str,
    read: impl Fn() -> Option<PoolState> + Clone + Send + Sync + 'static,
) {
    let pool = KeyValue::new(attr::DB_CLIENT_CONNECTION_POOL_NAME, name.to_owned());
    let (named, read_again) = (pool.clone(), read.clone());
    meter
        .i64_observable_up_down_counter(metric::DB_CLIENT_CONNECTION_COUNT)
        .with_unit("{connection}")
        .with_description("Number of connections in the state `state`.")
        .with_callback(move |observer| {
            let Some(PoolState { size, idle, .. }) = read() else {
                return;
            };
            let idle = i64::try_from(idle).unwrap_or(i64::MAX);
            // `size` and `idle` are not read atomically.
            let used = i64::from(size).saturating_sub(idle).max(0);
            for (state, connections) in [("idle", idle), ("used", used)] {
                let state = KeyValue::new(attr::DB_CLIENT_CONNECTION_STATE, state);
                observer.observe(connections, &[pool.clone(), state]);
            }
        })
        .build();
    meter
        .i64_observable_up_down_counter(metric::DB_CLIENT_CONNECTION_MAX)
        .with_unit("{connection}")
        .with_description("Maximum number of connections.")
        .with_callback(move |observer| {
            if let Some(PoolState { max, .. }) = read_again() {
                observer.observe(i64::from(max), std::slice::from_ref(&named));
            }
        })
        .build();
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::PoolState;
    use crate::testing::Capture;

    #[test]
    fn a_pools_connections_are_counted_by_state_until_it_is_closed() {
        let capture = Capture::start();
        let pool = Arc::new(Mutex::new(Some(PoolState {
            size: 3,
            idle: 1,
            max: 10,
        })));
        let read = Arc::clone(&pool);
        super::observe(&capture.meter(), "ledger", move || *read.lock().unwrap());
        let mut counts = capture.points("db.client.connection.count");
        counts.sort_by(|one, other| one.sum.total_cmp(&other.sum));
        for (point, state, connections) in [(&counts[0], "idle", 1.0), (&counts[1], "used", 2.0)] {
            point
                .has("db.client.connection.pool.name", "ledger")
                .has("db.client.connection.state", state);
            assert_eq!(point.sum, connections);
        }
        assert_eq!(capture.point("db.client.connection.max").sum, 10.0);
        *pool.lock().unwrap() = None;
        for instrument in ["db.client.connection.count", "db.client.connection.max"] {
            assert_eq!(
                capture.points(instrument).len(),
                0,
                "a closed pool is not observed"
            );
        }
    }
}
