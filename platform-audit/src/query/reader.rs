use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use sqlx::Pool;

use super::statement::Statement;
use crate::actor_source::ClientAddresses;
use crate::core::Core;
use crate::error::Error;
use crate::store::{AuditDatabase, Dialect, schema_name, sessions};

/// How long a statement may run before the reader checks whether it is blocked by a lock.
const LOCK_CHECK_AFTER: Duration = Duration::from_secs(5);

/// Maximum length of the host name and the user name, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// A handle for reading a service's audit log. Cheap to clone.
///
/// Reading goes through [`read_as`](Self::read_as), which names the actor. On Postgres the reader
/// role suffices: it may select from the views and record its own reads, nothing else.
#[derive(Debug)]
pub struct AuditReader<DB: AuditDatabase> {
    pub(super) pool: Pool<DB>,
    pub(super) dialect: Dialect,
    pub(super) service: String,
    pub(super) schema: String,
    pub(super) client_addresses: Option<ClientAddresses>,
    /// Operating system user and host of an interactive program.
    pub(super) machine: Option<[String; 2]>,
}

impl<DB: AuditDatabase> AuditReader<DB> {
    /// Creates a reader for `service` with its default schema `<service>_audit`. Does not connect
    /// yet.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidService`] if the service name cannot be used as a schema name;
    /// [`Error::UnsupportedDatabase`] if the database is neither Postgres nor SQLite.
    pub fn new(pool: Pool<DB>, service: impl Into<String>) -> Result<Self, Error> {
        let service = service.into();
        let schema = schema_name(&service, None)?;
        Self::open(pool, service, schema)
    }

    /// Like [`new`](Self::new), with another schema name (on SQLite, table prefix).
    ///
    /// # Errors
    ///
    /// The same as [`new`](Self::new), and [`Error::InvalidSchema`] if `schema` is not a plain
    /// identifier.
    pub fn in_schema(
        pool: Pool<DB>,
        service: impl Into<String>,
        schema: &str,
    ) -> Result<Self, Error> {
        let service = service.into();
        let schema = schema_name(&service, Some(schema))?;
        Self::open(pool, service, schema)
    }

    fn open(pool: Pool<DB>, service: String, schema: String) -> Result<Self, Error> {
        let dialect = DB::dialect(&pool)?.0;
        Ok(Self {
            pool,
            dialect,
            service,
            schema,
            client_addresses: None,
            machine: None,
        })
    }

    /// A reader for a running service.
    pub(crate) fn for_service(pool: Pool<DB>, dialect: Dialect, core: &Core, schema: &str) -> Self {
        Self {
            pool,
            dialect,
            service: core.service.clone(),
            schema: schema.to_owned(),
            client_addresses: core.client_addresses.clone(),
            machine: None,
        }
    }

    /// Sets how to find the client's address behind proxies, for reads made [via a
    /// request](super::Reading::via_request). Works like
    /// [`AuditBuilder::client_address_from`](crate::AuditBuilder::client_address_from); the
    /// [reader](crate::Audit::reader) of a running service already has it.
    #[must_use]
    pub fn client_address_from(
        mut self,
        source: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.client_addresses = Some(ClientAddresses(Arc::new(source)));
        self
    }

    /// Sets the operating system user and host of an interactive program. They are stored in the
    /// `details` of its reads as `os_user` and `host`, each truncated to 256 bytes.
    #[must_use]
    pub fn running_as(mut self, os_user: impl Into<String>, host: impl Into<String>) -> Self {
        let bounded = |mut text: String| {
            text.truncate(text.floor_char_boundary(MAX_NAME_BYTES));
            text
        };
        self.machine = Some([bounded(os_user.into()), bounded(host.into())]);
        self
    }

    /// Checks that the records can be read. Returns no data, so it is not recorded.
    ///
    /// # Errors
    ///
    /// [`Error::NotReadable`] if there is no such log or the connection's user may not read it;
    /// [`Error::Store`] if the query fails.
    pub async fn check(&self) -> Result<(), Error> {
        let mut statement = Statement::select(self.dialect, &self.schema, "record.id");
        statement.text.push_str(" LIMIT 0");
        self.fetch_texts(statement).await.map(drop)
    }

    pub(super) async fn fetch_texts(&self, statement: Statement) -> Result<Vec<String>, Error> {
        let mut connection = self.pool.acquire().await.map_err(Error::Store)?;
        let Statement {
            text, arguments, ..
        } = statement;
        let mut query = DB::fetch_texts(&mut connection, text.into(), arguments);
        loop {
            // Not `lock_timeout`: setting it for a single statement needs a transaction of its own.
            match tokio::time::timeout(LOCK_CHECK_AFTER, &mut query).await {
                Ok(texts) => return texts.map_err(|error| self.read_error(error)),
                Err(_) => {
                    if let Some(sessions) = self.blocking_sessions().await {
                        drop(query);
                        // Its server process still waits for the lock, so the connection cannot be
                        // reused.
                        connection.close_on_drop();
                        let schema = self.schema.clone();
                        return Err(Error::Locked { schema, sessions });
                    }
                }
            }
        }
    }

    /// The sessions that block all readers; `None` if there are none, or if no connection is free
    /// to query them.
    async fn blocking_sessions(&self) -> Option<String> {
        let connection = tokio::time::timeout(Duration::from_secs(1), self.pool.acquire()).await;
        let mut connection = connection.ok()?.ok()?;
        let locks = ["AccessExclusiveLock"];
        sessions::<DB>(&mut connection, self.dialect, &self.schema, &locks).await
    }

    fn read_error(&self, error: sqlx::Error) -> Error {
        if self.dialect.sql().is_not_readable(&error) {
            Error::NotReadable {
                schema: self.schema.clone(),
                source: error,
            }
        } else {
            Error::Store(error)
        }
    }
}

// Not derived: that would require `DB: Clone`.
impl<DB: AuditDatabase> Clone for AuditReader<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            dialect: self.dialect,
            service: self.service.clone(),
            schema: self.schema.clone(),
            client_addresses: self.client_addresses.clone(),
            machine: self.machine.clone(),
        }
    }
}
