//! The errors of the crate.

use thiserror::Error;
use uuid::Uuid;

use crate::check::{Finding, Report};
use crate::record::InvalidAction;

/// An error of the toolkit: while it starts, runs an operation, or reads records.
///
/// The messages contain no SQL and no data from the database, so they can be logged. The driver's
/// error, which may contain both, is the `source()`.
///
/// ```
/// use platform_audit::Error;
///
/// let error = Error::from(sqlx::Error::PoolTimedOut);
/// assert!(matches!(error, Error::Store(_)));
/// assert!(error.to_string().contains("no connection became available in time"));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The service's name cannot be used in a schema name.
    #[error(
        "`{0}` is not a valid service name: use lower-case letters, digits, `-` and `_`, starting with a letter, at most 40 bytes"
    )]
    InvalidService(String),
    /// The schema name (on SQLite, the table prefix) is not a plain identifier.
    #[error(
        "`{0}` is not a valid schema name: use lower-case letters, digits and `_`, starting with a letter, at most 48 bytes"
    )]
    InvalidSchema(String),
    /// An action is not in the form `noun.verb`.
    #[error(transparent)]
    InvalidAction(#[from] InvalidAction),
    /// The database is neither Postgres nor SQLite, or its driver is not compiled in.
    #[error(
        "`{0}` databases are not supported: use Postgres or SQLite, and enable the feature `postgres` or `sqlite` of platform-audit"
    )]
    UnsupportedDatabase(String),
    /// The migrations of the audit schema failed.
    #[error(
        "the audit schema `{schema}` could not be migrated: check that the database is reachable and that its user may create schemas and tables"
    )]
    Migrate {
        /// The schema, or the table prefix.
        schema: String,
        /// The error of the database or the migrator.
        source: sqlx::migrate::MigrateError,
    },
    /// The role to grant privileges to does not exist.
    #[error(
        "there is no role `{0}` in this database: create it first, for example with CREATE ROLE {0} LOGIN, or correct its name; SQLite has no roles"
    )]
    UnknownRole(String),
    /// The table to guard or exempt does not exist.
    #[error(
        "there is no table `{0}` to guard or exempt: create it before the service starts, or correct its name (on Postgres, include the schema, such as accounting.entry)"
    )]
    UnknownTable(String),
    /// The schema in which every table must be guarded or exempt does not exist.
    #[error(
        "there is no schema `{0}` in this database, although every table in it must be guarded or exempt: correct its name, or create it first"
    )]
    UnknownSchema(String),
    /// The database user lacks the privileges to run the check.
    #[error(
        "the check was not run, because `{user}` lacks privileges on the audit schema `{schema}`: connect as its owner, as the service's role, or as an administrator"
    )]
    NotChecked {
        /// The schema.
        schema: String,
        /// The database user.
        user: String,
    },
    /// A newer version of the toolkit has migrated the schema.
    #[error(
        "the audit schema `{schema}` has migration {}, which this version of platform-audit does not know: use the version that was deployed last, or a newer one", comma_separated(.versions)
    )]
    SchemaAhead {
        /// The schema, or the table prefix.
        schema: String,
        /// The versions of the unknown migrations.
        versions: Vec<i64>,
    },
    /// The check found a problem, and [development](crate::AuditBuilder::development) is off.
    #[error(
        "the service was not started, because {why}:\n{0}", why = unsafe_reason(.0)
    )]
    Unsafe(Report),
    /// A guarded table was changed without an audit record in the same transaction, so the
    /// database refused the commit (SQLSTATE `AU002`).
    #[error(
        "the guarded table {table} was changed without an audit record, so the database refused the commit: change it under #[audited] or in Audit::transaction, or call write_record() in the same transaction"
    )]
    Unaudited {
        /// The table that was changed.
        table: String,
        /// The driver's error.
        source: sqlx::Error,
    },
    /// On SQLite, an earlier transaction changed a guarded table and was committed without a
    /// record. Changes are refused until that change is recorded, as the next record would hide it.
    #[error(
        "the guarded table {table} was changed by an earlier transaction that was committed without an audit record, so changes are refused: run `platform-audit check`, find out what was changed, and record it as the check's remedy describes"
    )]
    ObligationOpen {
        /// The table that was changed.
        table: String,
    },
    /// The records cannot be read: the schema does not exist, or the database user lacks
    /// privileges.
    #[error(
        "the audit schema `{schema}` cannot be read ({}): check the service's name and the database, that `platform-audit migrate` was run there, and that this user has a reader's privileges (--reader-role)", kind(.source)
    )]
    NotReadable {
        /// The schema, or the table prefix.
        schema: String,
        /// The driver's error.
        source: sqlx::Error,
    },
    /// The logs of several services cannot be combined on SQLite, which has no schemas.
    #[error(
        "SQLite has no schemas, so the logs of several services cannot be combined: query each service's with --service, or store them in Postgres"
    )]
    NoSchemas,
    /// A schema is marked as an audit log but has no view `records`, so the logs of all services
    /// were not combined.
    #[error(
        "the schema {0} is marked as an audit log but has no view `records`; the logs were not combined, because its records would be missing: run platform-audit migrate for its service, or remove the mark with COMMENT ON SCHEMA {0} IS NULL"
    )]
    MissingRecordsView(String),
    /// Other sessions still held locks on the audit tables when the lock timeout expired.
    #[error(
        "the audit tables in `{schema}` are locked by other sessions: {sessions}; wait until these have ended, or end them with pg_terminate_backend(pid), and retry"
    )]
    Locked {
        /// The schema.
        schema: String,
        /// The process id, role and transaction start of each session.
        sessions: String,
    },
    /// The access to the audit log could not be recorded, so no records were returned.
    #[error("the access to the audit log could not be recorded, so no records were returned ({})", kind(.0))]
    ReadNotRecorded(#[source] sqlx::Error),
    /// The access to the audit log was recorded, but not the number of records that were returned.
    #[error(
        "records were returned, but their number could not be recorded ({}); the start of the access is recorded", kind(.0)
    )]
    ReadCountNotRecorded(#[source] sqlx::Error),
    /// A query of the records is invalid.
    #[error("the query is invalid: {0}")]
    InvalidQuery(String),
    /// Reading or maintaining the audit tables failed.
    #[error("the audit store could not be accessed ({})", kind(.0))]
    Store(#[source] sqlx::Error),
    /// No transaction could be started; nothing was changed.
    #[error("no audit transaction could be started ({})", kind(.0))]
    Begin(#[source] sqlx::Error),
    /// [`Audit::transaction`](crate::Audit::transaction) was called inside an audited handler or
    /// inside another `Audit::transaction`. It would wait for a second connection while its caller
    /// holds one, and many such calls could deadlock.
    #[error(
        "Audit::transaction was called inside an audited operation, which may already hold a connection of the same pool: use the `tx` of that operation, or call it from a task of its own (tokio::spawn) if it has to be committed independently"
    )]
    NestedTransaction,
    /// The database refused the record; the change was rolled back.
    #[error("the database refused the audit record, so the change was rolled back ({})", kind(.0))]
    Record(#[source] sqlx::Error),
    /// The operation's own SQL ended the transaction, so the record could not be part of it.
    /// Changes that were committed this way have no record.
    #[error(
        "the operation ended its own transaction (COMMIT, ROLLBACK or an unfinished savepoint): leave BEGIN and COMMIT to AuditTx"
    )]
    TransactionEnded,
    /// The database refused the commit; the change was rolled back.
    #[error("the database refused the commit, so the change was rolled back ({})", kind(.0))]
    Commit(#[source] sqlx::Error),
    /// The connection was lost during the commit. The change and its record either both exist or
    /// neither does: look for the record.
    #[error(
        "the connection was lost during COMMIT, so its outcome is unknown: the change was made if and only if record {record_id} exists"
    )]
    OutcomeUnknown {
        /// The record to look for with [`Audit::record`](crate::Audit::record).
        record_id: Uuid,
        /// The driver's error.
        source: sqlx::Error,
    },
}

/// SQLSTATE of a commit that changed a guarded table without a record.
const UNAUDITED: &str = "AU002";
/// SQLSTATE of the attempt to write a record in another transaction than the operation's.
const TRANSACTION_ENDED: &str = "AU003";

impl Error {
    /// Classifies the error of inserting records.
    pub(crate) fn from_insert(error: sqlx::Error) -> Self {
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        if code.as_deref() == Some(TRANSACTION_ENDED) {
            Self::TransactionEnded
        } else {
            Self::Record(error)
        }
    }

    /// Returns the error of a handler's statement if the transaction could not begin.
    pub(crate) fn of_begin(&self) -> sqlx::Error {
        match self {
            Self::Begin(sqlx::Error::PoolTimedOut) => sqlx::Error::PoolTimedOut,
            Self::Begin(sqlx::Error::PoolClosed) => sqlx::Error::PoolClosed,
            Self::Begin(sqlx::Error::WorkerCrashed) => sqlx::Error::WorkerCrashed,
            Self::Begin(sqlx::Error::Io(error)) => {
                sqlx::Error::Io(std::io::Error::new(error.kind(), self.to_string()))
            }
            other => sqlx::Error::Io(std::io::Error::other(other.to_string())),
        }
    }

    /// The `error_type` of the attempt's record if an operation is not committed for this reason.
    pub(crate) fn error_type(&self) -> &'static str {
        match self {
            Self::Begin(_) => "begin_failed",
            Self::ObligationOpen { .. } => "obligation_open",
            Self::TransactionEnded => "transaction_ended",
            Self::Unaudited { .. } => "unaudited_change",
            Self::Commit(_) => "commit_refused",
            _ => "record_refused",
        }
    }

    /// Converts the error of recording an access that has already returned records.
    pub(crate) fn after_read(self) -> Self {
        match self {
            Self::ReadNotRecorded(error) => Self::ReadCountNotRecorded(error),
            other => other,
        }
    }

    /// Converts `error` to [`Error::Unaudited`] if a guarded table caused it, else returns it.
    pub(crate) fn unaudited(error: sqlx::Error) -> Result<Self, sqlx::Error> {
        let refused = error
            .as_database_error()
            .filter(|error| error.code().as_deref() == Some(UNAUDITED));
        let Some(refused) = refused else {
            return Err(error);
        };
        // The qualified table name is between these words of the message.
        let message = refused.message();
        let table = message
            .split_once("changed ")
            .and_then(|(_, rest)| rest.rsplit_once(" and wrote"))
            .map_or("", |(table, _)| table)
            .to_owned();
        Ok(Self::Unaudited {
            table,
            source: error,
        })
    }
}

/// For code that commits its own transactions: returns [`Error::Unaudited`] if a guarded table
/// refused the commit, else [`Error::Store`].
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::unaudited(error).unwrap_or_else(Self::Store)
    }
}

/// Why [`Audit::transaction`](crate::Audit::transaction) did not commit.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransactionError<E> {
    /// The operation returned an error. It was rolled back, and the attempt was recorded.
    #[error("the operation failed and was rolled back")]
    Work(#[source] E),
    /// The toolkit or the database failed.
    #[error(transparent)]
    Audit(#[from] Error),
}

/// Describes a driver's error without data: its class, and the database's error code.
pub(crate) fn kind(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => match error.code() {
            // The rate limit of record_read().
            Some(code) if code == "AU004" => {
                "rate limit: this database user read the audit log 1200 times within a minute; wait a minute, or read more records at a time, for example with an export".to_owned()
            }
            Some(code) => format!("database error {code}"),
            None => "database error".to_owned(),
        },
        sqlx::Error::Io(error) => format!("connection: {}", error.kind()),
        sqlx::Error::Tls(_) => "connection: TLS".to_owned(),
        sqlx::Error::PoolTimedOut => "no connection became available in time".to_owned(),
        sqlx::Error::PoolClosed => "the pool is closed".to_owned(),
        sqlx::Error::BeginFailed => "BEGIN did not start a transaction".to_owned(),
        sqlx::Error::WorkerCrashed => "the database driver's worker crashed".to_owned(),
        _ => "driver error".to_owned(),
    }
}

fn comma_separated(versions: &[i64]) -> String {
    let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
    versions.join(", ")
}

fn unsafe_reason(report: &Report) -> &'static str {
    if report.findings.iter().any(Finding::is_fatal) {
        "no records can be written to the database; fix this"
    } else {
        "the database would accept unaudited changes; fix this, or call AuditBuilder::development(true) if this is not production"
    }
}
