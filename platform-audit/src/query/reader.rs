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

/// How long a statement may take before it is asked whether it waits for a lock.
const LOCKED_FOR: Duration = Duration::from_secs(5);

/// How long the names of a machine and of its user may be, in bytes.
const MACHINE: usize = 256;

/// Reads the audit log of a service. Cheap to clone.
///
/// On Postgres the rights of the reader role suffice, which may read the views and leave records
/// of its readings, and nothing else.
#[derive(Debug)]
pub struct AuditReader<DB: AuditDatabase> {
    pub(super) pool: Pool<DB>,
    pub(super) dialect: Dialect,
    pub(super) service: String,
    pub(super) schema: String,
    pub(super) client_addresses: Option<ClientAddresses>,
    /// The user of the operating system and the host, of a program that people run.
    pub(super) machine: Option<[String; 2]>,
}

impl<DB: AuditDatabase> AuditReader<DB> {
    /// Reads what `service` wrote, in its schema `<service>_audit`. Nothing is asked of the database
    /// yet.
    ///
    /// # Errors
    ///
    /// When the service's name cannot be a schema's, or the database is neither Postgres nor SQLite.
    pub fn new(pool: Pool<DB>, service: impl Into<String>) -> Result<Self, Error> {
        let service = service.into();
        let schema = schema_name(&service, None)?;
        Self::open(pool, service, schema)
    }

    /// The same where the schema (SQLite: the prefix of the tables) has another name.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and when `schema` is no plain identifier.
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

    /// Of a service that was started.
    pub(crate) fn of(pool: Pool<DB>, dialect: Dialect, core: &Core, schema: &str) -> Self {
        Self {
            pool,
            dialect,
            service: core.service.clone(),
            schema: schema.to_owned(),
            client_addresses: core.client_addresses.clone(),
            machine: None,
        }
    }

    /// Tells the client's address behind proxies, for readings [through](super::Reading::through) a request;
    /// as [`AuditBuilder::client_address_from`](crate::AuditBuilder::client_address_from), whose own
    /// [reader](crate::Audit::reader) has it already.
    #[must_use]
    pub fn client_address_from(
        mut self,
        source: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.client_addresses = Some(ClientAddresses(Arc::new(source)));
        self
    }

    /// Says which user of the operating system runs this program on which host: the records of its
    /// readings have both in `details`, as `os_user` and `host`, each at most 256 bytes. For a program
    /// that people run, whose readings no request names the origin of.
    #[must_use]
    pub fn running_as(mut self, os_user: impl Into<String>, host: impl Into<String>) -> Self {
        let bounded = |mut text: String| {
            text.truncate(text.floor_char_boundary(MACHINE));
            text
        };
        self.machine = Some([bounded(os_user.into()), bounded(host.into())]);
        self
    }

    /// Whether the records can be read. Reads none, so it leaves no record.
    ///
    /// # Errors
    ///
    /// [`Error::NotReadable`] when there is no such log or the connection's user may not read it;
    /// [`Error::Store`] when the database cannot be asked.
    pub async fn check(&self) -> Result<(), Error> {
        let mut statement = Statement::select(self.dialect, &self.schema, "record.id");
        statement.text.push_str(" LIMIT 0");
        self.texts(statement).await.map(drop)
    }

    pub(super) async fn texts(&self, statement: Statement) -> Result<Vec<String>, Error> {
        let mut connection = self.pool.acquire().await.map_err(Error::Store)?;
        let Statement {
            text, arguments, ..
        } = statement;
        let mut asking = DB::fetch_texts(&mut connection, text.into(), arguments);
        loop {
            // Not lock_timeout: to set it for a single statement takes a transaction of its own.
            match tokio::time::timeout(LOCKED_FOR, &mut asking).await {
                Ok(texts) => return texts.map_err(|error| self.not_read(error)),
                Err(_) => {
                    if let Some(sessions) = self.locked_by().await {
                        drop(asking);
                        // Its server process waits on, so it cannot be used for anything else.
                        connection.close_on_drop();
                        let schema = self.schema.clone();
                        return Err(Error::Locked { schema, sessions });
                    }
                }
            }
        }
    }

    /// The sessions that keep all others from reading, if there are any. Without a free connection,
    /// that is not known.
    async fn locked_by(&self) -> Option<String> {
        let connection = tokio::time::timeout(Duration::from_secs(1), self.pool.acquire()).await;
        let mut connection = connection.ok()?.ok()?;
        let locks = ["AccessExclusiveLock"];
        sessions::<DB>(&mut connection, self.dialect, &self.schema, &locks).await
    }

    fn not_read(&self, error: sqlx::Error) -> Error {
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        // Undefined table, undefined schema, insufficient privilege; SQLite has no better code.
        let postgres = ["42P01", "3F000", "42501"];
        let missing = code.as_deref().is_some_and(|code| postgres.contains(&code))
            || (self.dialect == Dialect::Sqlite && error.to_string().contains("no such table"));
        if missing {
            Error::NotReadable {
                schema: self.schema.clone(),
                source: error,
            }
        } else {
            Error::Store(error)
        }
    }
}

// Not derived, as the database itself need not be `Clone`.
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
