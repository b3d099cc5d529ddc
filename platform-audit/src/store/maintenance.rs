use std::borrow::Cow;
use std::sync::Weak;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{AuditDatabase, Dialect, Store};
use crate::error::Error;

/// How many months after the current one get a partition in advance.
const MONTHS_AHEAD: u32 = 3;

/// The interval at which connections that were idle for too long are closed.
const REAP_EVERY: Duration = Duration::from_secs(60);

/// The number of these intervals between two checks of the partitions: six hours.
const PARTITIONS_EVERY: u32 = 360;

/// The timeout for creating partitions.
const PARTITIONS_TIMEOUT: Duration = Duration::from_secs(60);

impl<DB: AuditDatabase> Store<DB> {
    /// Logs that partitions could not be created. Nothing is lost: the default partition stores the
    /// records of a month without its own.
    pub(crate) fn warn_of_partitions(&self, error: &dyn std::fmt::Display) {
        tracing::warn!(
            schema = self.schema,
            %error,
            "the next months' audit partitions could not be created; the default partition stores their records"
        );
    }

    /// Creates the missing partitions of the current month and the next ones, and makes the guard
    /// search the current month's partition first.
    ///
    /// Does nothing if the schema does not exist or the role lacks privileges: the check reports
    /// that.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if other sessions hold the locks during all attempts.
    pub(crate) async fn create_partitions(&self) -> Result<(), Error> {
        if self.dialect() == Dialect::Sqlite {
            return Ok(());
        }
        // Separately and first: the guard is slow until it searches this month's partition, and new
        // partitions may have to wait for locks.
        for function in [
            "set_guard_partition()",
            &format!("maintain({MONTHS_AHEAD})"),
        ] {
            let mut attempts = 1;
            loop {
                let statement = format!("SELECT {}.{function}", self.schema);
                match self.run_raw(statement).await {
                    Err(Error::Store(error)) if is_blocked(&error) => {
                        if attempts < ATTEMPTS {
                            attempts += 1;
                            continue;
                        }
                        return Err(match self.sessions().await {
                            Some(sessions) => {
                                let schema = self.schema.clone();
                                Error::Locked { schema, sessions }
                            }
                            None => Error::Store(error),
                        });
                    }
                    Err(Error::Store(error)) if is_unavailable(&error) => break,
                    done => break done?,
                }
            }
        }
        Ok(())
    }
}

impl<DB: AuditDatabase> Store<DB> {
    /// The sessions that hold locks on the audit tables.
    async fn sessions(&self) -> Option<String> {
        let mut connection = self.connections.acquire().await.ok()?;
        let found = sessions::<DB>(&mut connection, self.dialect, &self.schema, &[]).await;
        connection.release();
        found
    }
}

/// Describes the sessions that hold locks of these modes, or of any mode if empty, on tables of
/// `schema`. `None` if there are none or the query fails.
pub(crate) async fn sessions<DB: AuditDatabase>(
    connection: &mut DB::Connection,
    dialect: Dialect,
    schema: &str,
    modes: &[&str],
) -> Option<String> {
    if dialect == Dialect::Sqlite {
        return None;
    }
    let statement = include_str!("postgres/sessions.sql").replace("{schema}", schema);
    let modes = serde_json::to_string(modes).ok()?;
    // The statement always returns one row; its text is empty or null if there are no sessions.
    let found = DB::fetch_text(connection, statement.into(), vec![modes]).await;
    found.ok()?.filter(|sessions| !sessions.is_empty())
}

/// The current month in UTC, like the partitions.
fn month() -> (i16, i8) {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    (now.year(), now.month())
}

/// How often creating partitions is attempted while other sessions hold locks. Each attempt has a
/// short lock timeout, because writers queue behind it.
const ATTEMPTS: u32 = 5;

/// Postgres' `lock_not_available`, `deadlock_detected`, and `query_canceled` (if the service's
/// statement timeout is shorter than the lock timeout).
fn is_blocked(error: &sqlx::Error) -> bool {
    matches!(code(error).as_deref(), Some("55P03" | "40P01" | "57014"))
}

/// Postgres' `insufficient_privilege`, `invalid_schema_name` and `undefined_function`.
fn is_unavailable(error: &sqlx::Error) -> bool {
    matches!(code(error).as_deref(), Some("42501" | "3F000" | "42883"))
}

fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

/// Closes idle connections and creates partitions until the store is dropped. Failures are logged
/// and retried.
pub(crate) async fn maintain<DB: AuditDatabase>(store: Weak<Store<DB>>) {
    let mut created_in = month();
    for round in 1_u32.. {
        tokio::time::sleep(REAP_EVERY).await;
        let Some(store) = store.upgrade() else { return };
        store.connections.close_idle();
        // Immediately in a new month: until then the guard searches last month's partition first.
        if round % PARTITIONS_EVERY == 0 || created_in != month() {
            let creating = tokio::time::timeout(PARTITIONS_TIMEOUT, store.create_partitions());
            match creating.await {
                Ok(Ok(())) => created_in = month(),
                Ok(Err(error)) => store.warn_of_partitions(&error),
                Err(_) => store.warn_of_partitions(&"the database does not respond"),
            }
        }
    }
}
