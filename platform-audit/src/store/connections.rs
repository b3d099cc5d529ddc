use std::ops::{Deref, DerefMut};
use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, PoolError, QueueMode, RecycleError, Timeouts};
use sqlx::{Connection as _, Pool, SqlSafeStr};

use super::{AuditDatabase, Dialect};
use crate::error::Error;

/// The connections of audited operations, separate from the service's pool.
///
/// sqlx's pool makes a round trip each time a connection is returned, and by default another one
/// before it is acquired; and it may return a connection on which a cancelled `begin` left a
/// transaction open. Connections that only this crate uses need neither check, so a request makes
/// four round trips.
pub(crate) struct Connections<DB: AuditDatabase> {
    pool: managed::Pool<Manager<DB>>,
    /// The acquire timeout of the service's pool.
    acquire_timeout: Duration,
}

/// The maximum of that timeout on a reused connection, after which another one is tried.
const STALE: Duration = Duration::from_secs(5);

/// Creates connections through the service's own pool, so that its options and its
/// `after_connect` apply to them, too.
pub(crate) struct Manager<DB: AuditDatabase> {
    pool: Pool<DB>,
    dialect: Dialect,
    longest_life: Option<Duration>,
    longest_idle: Option<Duration>,
}

impl<DB: AuditDatabase> Connections<DB> {
    pub(crate) fn new(
        pool: Pool<DB>,
        dialect: Dialect,
        max_connections: Option<u32>,
    ) -> Result<Self, Error> {
        let options = pool.options();
        let max = match dialect {
            Dialect::Postgres => max_connections.unwrap_or_else(|| options.get_max_connections()),
            // SQLite has one writer at a time. Waiting in the pool's queue is fair and quick;
            // waiting in SQLite's busy handler is neither.
            Dialect::Sqlite => 1,
        };
        let timeout = options.get_acquire_timeout();
        let timeouts = Timeouts {
            wait: Some(timeout),
            create: Some(timeout),
            recycle: None,
        };
        let manager = Manager {
            dialect,
            longest_life: options.get_max_lifetime(),
            longest_idle: options.get_idle_timeout(),
            pool,
        };
        managed::Pool::builder(manager)
            .max_size(max.max(1) as usize)
            .timeouts(timeouts)
            .queue_mode(QueueMode::Lifo)
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map(|pool| Self {
                pool,
                acquire_timeout: timeout,
            })
            .map_err(|error| Error::Store(sqlx::Error::Configuration(Box::new(error))))
    }

    /// Waits for a free connection, or creates one.
    pub(crate) async fn acquire(&self) -> Result<Connection<DB>, sqlx::Error> {
        match self.pool.get().await {
            Ok(object) => Ok(Connection {
                object: Some(object),
            }),
            Err(PoolError::Backend(error)) => Err(error),
            Err(PoolError::Timeout(_)) => Err(sqlx::Error::PoolTimedOut),
            Err(PoolError::Closed) => Err(sqlx::Error::PoolClosed),
            Err(error) => Err(sqlx::Error::Configuration(Box::new(error))),
        }
    }

    /// The timeout for the first response on a connection.
    pub(crate) fn response_timeout(&self, reused: bool) -> Duration {
        if reused {
            self.acquire_timeout.min(STALE)
        } else {
            self.acquire_timeout
        }
    }

    /// Closes the connections that have been idle for longer than the service's pool allows.
    pub(crate) fn close_idle(&self) {
        let manager = self.pool.manager();
        self.pool.retain(|_, metrics| !manager.is_expired(&metrics));
    }
}

impl<DB: AuditDatabase> std::fmt::Debug for Connections<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Connections")
            .field(&self.pool.status())
            .finish()
    }
}

impl<DB: AuditDatabase> managed::Manager for Manager<DB> {
    type Type = DB::Connection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<DB::Connection, sqlx::Error> {
        // Boxed, because it is large and part of the future of each request.
        Box::pin(self.connect()).await
    }

    async fn recycle(
        &self,
        _connection: &mut DB::Connection,
        metrics: &Metrics,
    ) -> managed::RecycleResult<sqlx::Error> {
        if self.is_expired(metrics) {
            return Err(RecycleError::message("the connection has expired"));
        }
        Ok(())
    }
}

impl<DB: AuditDatabase> Manager<DB> {
    async fn connect(&self) -> Result<DB::Connection, sqlx::Error> {
        loop {
            let mut connection = self.pool.acquire().await?.detach();
            let Some(question) = self.dialect.is_idle() else {
                return Ok(connection);
            };
            // sqlx 0.9.0 returns a connection to its pool with the transaction open if `begin` was
            // cancelled (launchbadge/sqlx#4385). Committing would commit another task's changes.
            if DB::fetch_raw_text(&mut connection, question.into_sql_str()).await? == "idle" {
                return Ok(connection);
            }
            tracing::warn!(
                "a connection of the service's pool had an open transaction, left by a cancelled `begin`; it was closed"
            );
            connection.close_hard().await?;
        }
    }

    fn is_expired(&self, metrics: &Metrics) -> bool {
        self.longest_life.is_some_and(|limit| metrics.age() > limit)
            || self
                .longest_idle
                .is_some_and(|limit| metrics.last_used() > limit)
    }
}

/// A connection in use. Unless it is [released](Self::release), it is closed when dropped, so that
/// the database rolls back whatever was left open.
pub(crate) struct Connection<DB: AuditDatabase> {
    object: Option<Object<Manager<DB>>>,
}

impl<DB: AuditDatabase> Connection<DB> {
    /// Returns it to the pool.
    pub(crate) fn release(mut self) {
        drop(self.object.take());
    }

    pub(crate) fn release_if_ok<T>(self, result: &Result<T, sqlx::Error>) {
        match result {
            Ok(_) => self.release(),
            // The connection remains usable after a database error.
            Err(error)
                if matches!(error, sqlx::Error::Database(_))
                    && !super::connection_failed(error) =>
            {
                self.release();
            }
            Err(_) => self.close(),
        }
    }

    /// Closes it.
    pub(crate) fn close(self) {
        drop(self);
    }

    /// Whether it was used before, and so may be stale.
    pub(crate) fn was_reused(&self) -> bool {
        self.object
            .as_ref()
            .is_some_and(|object| Object::metrics(object).recycle_count > 0)
    }
}

impl<DB: AuditDatabase> Drop for Connection<DB> {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}

impl<DB: AuditDatabase> std::fmt::Debug for Connection<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection(..)")
    }
}

/// `object` is `Some` until the connection is consumed.
const IN_USE: &str = "the connection is in use until it is dropped";

impl<DB: AuditDatabase> Deref for Connection<DB> {
    type Target = DB::Connection;

    #[expect(
        clippy::expect_used,
        reason = "only `release` and `drop` take the object, and both consume the value"
    )]
    fn deref(&self) -> &DB::Connection {
        self.object.as_ref().expect(IN_USE)
    }
}

impl<DB: AuditDatabase> DerefMut for Connection<DB> {
    #[expect(
        clippy::expect_used,
        reason = "only `release` and `drop` take the object, and both consume the value"
    )]
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.object.as_mut().expect(IN_USE)
    }
}
