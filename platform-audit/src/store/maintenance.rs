use std::borrow::Cow;
use std::sync::Weak;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{AuditDatabase, Dialect, Store};
use crate::error::Error;

/// How many months after this one have their partition.
const MONTHS_AHEAD: u32 = 3;

/// How often connections that are idle for too long are closed.
const REAP_EVERY: Duration = Duration::from_secs(60);

/// How many of those periods lie between two looks at the partitions: six hours.
const PARTITIONS_EVERY: u32 = 360;

/// How long such a look may take.
const LOOK: Duration = Duration::from_secs(60);

impl<DB: AuditDatabase> Store<DB> {
    /// Says that partitions could not be made, which loses nothing: the default one takes what has none
    /// of its own.
    pub(crate) fn warn_of_partitions(&self, error: &dyn std::fmt::Display) {
        tracing::warn!(
            schema = self.schema,
            %error,
            "the next months' audit partitions could not be made; records go to the default partition"
        );
    }

    /// Makes the partitions of this month and the next ones where they are missing, and points
    /// the guard at this month's.
    ///
    /// Where the schema is not there, or not for this role, it does nothing: the check says so.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] when others hold the locks for as long as it tries.
    pub(crate) async fn create_partitions(&self) -> Result<(), Error> {
        if self.dialect() == Dialect::Sqlite {
            return Ok(());
        }
        // Apart and first, as the guard is slow until it asks this month's partition, and the locks for
        // new ones may have to be waited for.
        for function in ["point_guard()", &format!("maintain({MONTHS_AHEAD})")] {
            let mut tries = 1;
            loop {
                let statement = format!("SELECT {}.{function}", self.schema);
                match self.run_raw(statement).await {
                    Err(Error::Store(error)) if is_held_up(&error) => {
                        if tries < TRIES {
                            tries += 1;
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
                    Err(Error::Store(error)) if is_not_for_us(&error) => break,
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
        let mut connection = self.connections.lend().await.ok()?;
        let found = sessions::<DB>(&mut connection, self.dialect, &self.schema, &[]).await;
        connection.release();
        found
    }
}

/// The sessions that hold locks of these modes, or of any, on tables of `schema`: whom to wait for.
/// `None` if there are none, or that cannot be asked.
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
    // It answers one row, whose text is null if there are none.
    let found = DB::fetch_text(connection, statement.into(), vec![modes]).await;
    found.ok()?.filter(|sessions| !sessions.is_empty())
}

/// This month (UTC), as the partitions have it.
fn month() -> (i16, i8) {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    (now.year(), now.month())
}

/// How often the partitions are tried when other work holds their locks. Each try gives up soon,
/// lest writers queue behind it.
const TRIES: u32 = 5;

/// Postgres' `lock_not_available`, `deadlock_detected`, and `query_canceled`, where the service's statements
/// have less time than the lock.
fn is_held_up(error: &sqlx::Error) -> bool {
    matches!(code(error).as_deref(), Some("55P03" | "40P01" | "57014"))
}

/// Postgres' `insufficient_privilege`, `invalid_schema_name` and `undefined_function`.
fn is_not_for_us(error: &sqlx::Error) -> bool {
    matches!(code(error).as_deref(), Some("42501" | "3F000" | "42883"))
}

fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

/// Looks after idle connections and partitions until the store is dropped. A failure is reported and
/// tried again.
pub(crate) async fn maintain<DB: AuditDatabase>(store: Weak<Store<DB>>) {
    let mut looked_in = month();
    for round in 1_u32.. {
        tokio::time::sleep(REAP_EVERY).await;
        let Some(store) = store.upgrade() else { return };
        store.connections.close_idle();
        // In a new month at once, as the guard asks the partition of the last one until then.
        if round % PARTITIONS_EVERY == 0 || looked_in != month() {
            let looking = tokio::time::timeout(LOOK, store.create_partitions());
            match looking.await {
                Ok(Ok(())) => looked_in = month(),
                Ok(Err(error)) => store.warn_of_partitions(&error),
                Err(_) => store.warn_of_partitions(&"the database does not answer"),
            }
        }
    }
}
