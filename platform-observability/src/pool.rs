//! Connection pools, as metrics by OpenTelemetry's conventions for database clients.

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

const POOL_NAME: &str = "db.client.connection.pool.name";
const STATE: &str = "db.client.connection.state";

/// How a pool of connections is used, for
/// [`Telemetry::observe_pool`](crate::Telemetry::observe_pool).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// The connections there are, used or not.
    pub size: u32,
    /// Those that nobody uses.
    pub idle: usize,
    /// How many there may be.
    pub max: u32,
}

/// Measures what `read` says of the pool `name`, which is nothing once it is closed.
pub(crate) fn observe(
    meter: &Meter,
    name: &str,
    read: impl Fn() -> Option<PoolUse> + Clone + Send + Sync + 'static,
) {
    let pool = KeyValue::new(POOL_NAME, name.to_owned());
    let (named, read_again) = (pool.clone(), read.clone());
    meter
        .i64_observable_up_down_counter("db.client.connection.count")
        .with_unit("{connection}")
        .with_description("Connections that are in the state `state`.")
        .with_callback(move |observer| {
            let Some(PoolUse { size, idle, .. }) = read() else {
                return;
            };
            let idle = i64::try_from(idle).unwrap_or(i64::MAX);
            // The two are not read at once.
            let used = i64::from(size).saturating_sub(idle).max(0);
            for (state, connections) in [("idle", idle), ("used", used)] {
                observer.observe(connections, &[pool.clone(), KeyValue::new(STATE, state)]);
            }
        })
        .build();
    meter
        .i64_observable_up_down_counter("db.client.connection.max")
        .with_unit("{connection}")
        .with_description("How many connections there may be.")
        .with_callback(move |observer| {
            if let Some(PoolUse { max, .. }) = read_again() {
                observer.observe(i64::from(max), std::slice::from_ref(&named));
            }
        })
        .build();
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::PoolUse;
    use crate::testing::Capture;

    #[test]
    fn connections_are_counted_by_their_state() {
        let capture = Capture::start();
        let pool = Arc::new(Mutex::new(Some(PoolUse {
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
                "a closed pool is silent"
            );
        }
    }
}
