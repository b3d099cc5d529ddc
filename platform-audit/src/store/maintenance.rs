use std::borrow::Cow;
use std::sync::Weak;
use std::time::Duration;

use super::{AuditDatabase, Dialect, Store};
use crate::error::Error;

/// How many months after this one have their partition.
const MONTHS_AHEAD: u32 = 3;

/// How often connections that are idle for too long are closed.
const REAP_EVERY: Duration = Duration::from_secs(60);

/// How many of those periods lie between two looks at the partitions: six hours.
const PARTITIONS_EVERY: u32 = 360;

impl<DB: AuditDatabase> Store<DB> {
    /// Makes the partitions of this month and the next ones where they are missing, and points
    /// the guard at this month's.
    ///
    /// Where the schema is not there, or not for this role, it does nothing: the check says so.
    pub(crate) async fn create_partitions(&self) -> Result<(), Error> {
        if self.dialect() == Dialect::Sqlite {
            return Ok(());
        }
        let mut tries = 1;
        loop {
            let statement = format!("SELECT {}.maintain({MONTHS_AHEAD})", self.schema);
            match self.run_raw(statement).await {
                Err(Error::Store(error)) if tries < TRIES && is_lock_timeout(&error) => tries += 1,
                Err(Error::Store(error)) if is_not_for_us(&error) => return Ok(()),
                done => return done,
            }
        }
    }
}

/// How often the partitions are tried when other work holds their locks. Each try gives up soon,
/// lest writers queue behind it.
const TRIES: u32 = 5;

/// Postgres' `lock_not_available`.
fn is_lock_timeout(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some("55P03")
}

/// Postgres' `insufficient_privilege`, `invalid_schema_name` and `undefined_function`.
fn is_not_for_us(error: &sqlx::Error) -> bool {
    matches!(code(error).as_deref(), Some("42501" | "3F000" | "42883"))
}

fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

/// Looks after idle connections and partitions until the store is dropped. A failure loses
/// nothing, since the default partition takes what has none of its own; it is reported and
/// tried again.
pub(crate) async fn maintain<DB: AuditDatabase>(store: Weak<Store<DB>>) {
    for round in 1_u32.. {
        tokio::time::sleep(REAP_EVERY).await;
        let Some(store) = store.upgrade() else { return };
        store.connections.close_idle();
        if round % PARTITIONS_EVERY == 0
            && let Err(error) = store.create_partitions().await
        {
            tracing::warn!(
                schema = store.schema,
                error = %error,
                "the next months' audit partitions could not be made; records go to the default partition"
            );
        }
    }
}
