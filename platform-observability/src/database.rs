//! The connection pools of sqlx, as metrics (feature `sqlx`).

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use sqlx::{Database, Pool};

const POOL_NAME: &str = "db.client.connection.pool.name";
const STATE: &str = "db.client.connection.state";

/// Measures `pool` from now on, as long as it is open.
pub(crate) fn observe_pool<DB: Database>(meter: &Meter, name: &str, pool: &Pool<DB>) {
    let pool_name = KeyValue::new(POOL_NAME, name.to_owned());
    meter
        .i64_observable_up_down_counter("db.client.connection.count")
        .with_unit("{connection}")
        .with_description("Connections that are in the state `state`.")
        .with_callback({
            let (pool, pool_name) = (pool.clone(), pool_name.clone());
            move |observer| {
                if pool.is_closed() {
                    return;
                }
                let idle = count(pool.num_idle());
                let used = (i64::from(pool.size()) - idle).max(0);
                for (state, connections) in [("idle", idle), ("used", used)] {
                    let attributes = [pool_name.clone(), KeyValue::new(STATE, state)];
                    observer.observe(connections, &attributes);
                }
            }
        })
        .build();
    meter
        .i64_observable_up_down_counter("db.client.connection.max")
        .with_unit("{connection}")
        .with_description("How many connections there may be.")
        .with_callback({
            let pool = pool.clone();
            move |observer| {
                if !pool.is_closed() {
                    let max = i64::from(pool.options().get_max_connections());
                    observer.observe(max, std::slice::from_ref(&pool_name));
                }
            }
        })
        .build();
}

fn count(connections: usize) -> i64 {
    i64::try_from(connections).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqlitePoolOptions;

    use crate::testing::Capture;

    #[tokio::test]
    async fn connections_are_counted_by_their_state() {
        let capture = Capture::start();
        let pool = SqlitePoolOptions::new().max_connections(3);
        let pool = pool.connect("sqlite::memory:").await.unwrap();
        super::observe_pool(&capture.meter(), "ledger", &pool);
        let count = |state: &str| {
            let mut points = capture.points("db.client.connection.count");
            points.retain(|point| point.attributes.iter().any(|it| it.value.as_str() == state));
            assert_eq!(points.len(), 1);
            points[0]
                .has("db.client.connection.pool.name", "ledger")
                .attributes
                .len();
            points[0].sum
        };
        let held = pool.acquire().await.unwrap();
        assert_eq!((count("used"), count("idle")), (1.0, 0.0));
        held.close().await.unwrap();
        assert_eq!((count("used"), count("idle")), (0.0, 0.0));
        assert_eq!(capture.point("db.client.connection.max").sum, 3.0);
        pool.close().await;
        assert_eq!(
            capture.points("db.client.connection.count").len(),
            0,
            "a closed pool is silent"
        );
    }
}
