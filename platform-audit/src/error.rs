use thiserror::Error;
use uuid::Uuid;

use crate::check::{Finding, Report};
use crate::record::InvalidAction;

/// What can go wrong while the toolkit starts or does a unit of work.
///
/// The messages hold no SQL, no values and no data of the database's; those are in `source()`,
/// for code that needs them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The service's name cannot become a schema's name.
    #[error(
        "`{0}` is not a service name: use lower-case letters, digits, `-` and `_`, start with a letter, at most 40 bytes"
    )]
    InvalidService(String),
    /// The schema's name (SQLite: the prefix of the tables) is not a plain identifier.
    #[error(
        "`{0}` is not a schema name: use lower-case letters, digits and `_`, start with a letter, at most 48 bytes"
    )]
    InvalidSchema(String),
    /// An action's name is not `noun.verb`.
    #[error(transparent)]
    InvalidAction(#[from] InvalidAction),
    /// A database that is neither Postgres nor SQLite, or whose driver is not compiled in.
    #[error(
        "no audit store for a `{0}` database: use Postgres or SQLite, and the feature of platform-audit of that name"
    )]
    UnsupportedDatabase(String),
    /// The schema could not be brought up to date.
    #[error(
        "the audit schema `{schema}` could not be migrated: check that the database can be reached and that its user may create there"
    )]
    Migrate {
        /// The schema, or the prefix of the tables.
        schema: String,
        /// What the database or the migrator said.
        source: sqlx::migrate::MigrateError,
    },
    /// A role that is to be given rights does not exist.
    #[error(
        "there is no role `{0}` in this database: make it first, as with CREATE ROLE {0} LOGIN, or correct its name; SQLite has no roles"
    )]
    UnknownRole(String),
    /// A table that is to be guarded or exempt does not exist.
    #[error(
        "there is no table `{0}` to guard or exempt: make it before the service starts, or correct its name (on Postgres with its schema, such as accounting.entry)"
    )]
    UnknownTable(String),
    /// A schema whose tables all have to be guarded or exempt does not exist.
    #[error(
        "there is no schema `{0}` in this database, in which every table would have to be guarded or exempt: correct its name, or make it first"
    )]
    UnknownSchema(String),
    /// The connection's user may not look at what is to be checked.
    #[error(
        "nothing was checked, as `{user}` may not look into the audit schema `{schema}`: connect as its owner, as the service's own role, or as an administrator"
    )]
    NotChecked {
        /// The schema.
        schema: String,
        /// Who asked.
        user: String,
    },
    /// The schema was migrated by a newer version.
    #[error(
        "the audit schema `{schema}` has migration {}, which this version of platform-audit does not know: use the version that was deployed last, or a newer one", listed(.versions)
    )]
    SchemaAhead {
        /// The schema, or the prefix of the tables.
        schema: String,
        /// The migrations that are not known.
        versions: Vec<i64>,
    },
    /// The database would not hold the promise, and this is not
    /// [development](crate::AuditBuilder::development).
    #[error(
        "the service was not started, as {why}:\n{0}", why = unsafe_why(.0)
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
        /// What the driver said.
        source: sqlx::Error,
    },
    /// On SQLite, an earlier transaction changed a guarded table and was committed without a record, so
    /// nothing is changed until that is recorded: the next record would hide it.
    #[error(
        "the guarded table {table} was changed by an earlier transaction that was committed without an audit record, so changes are refused: run `platform-audit check`, find out what was changed, and record it as its remedy says"
    )]
    ObligationOpen {
        /// The table that was changed.
        table: String,
    },
    /// The records cannot be read: there is no such schema, or the connection's user may not.
    #[error(
        "there are no records to read in the audit schema `{schema}` ({}): check the service's name and the database, that `platform-audit migrate` was run there, and that this user was granted the reader's rights (--reader-role)", kind(.source)
    )]
    NotReadable {
        /// The schema, or the prefix of the tables.
        schema: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// SQLite has no schemas, and so no logs of many services to unite.
    #[error(
        "SQLite has no schemas, so a database holds no logs of many services that could be united: ask each service's with --service, or keep them in Postgres"
    )]
    NoSchemas,
    /// A schema is marked as an audit log, and holds none, so the logs were not united.
    #[error(
        "the schema {0} is marked as an audit log and has no view `records`, so nothing was united, lest it be missing: run platform-audit migrate for its service, or take the mark away with COMMENT ON SCHEMA {0} IS NULL"
    )]
    NotUnited(String),
    /// Other sessions hold locks on the audit tables, and were waited for as long as makes sense.
    #[error(
        "the audit tables in `{schema}` are locked by other sessions: {sessions}; wait until these have ended, or end them with pg_terminate_backend(pid), and try again"
    )]
    Locked {
        /// The schema.
        schema: String,
        /// Each one's process id, role, and since when its transaction is open.
        sessions: String,
    },
    /// A reading of the records could not be recorded, so nothing was handed out.
    #[error("the reading could not be recorded, so nothing is shown ({})", kind(.0))]
    Reading(#[source] sqlx::Error),
    /// How many records were handed out could not be recorded.
    #[error(
        "records were handed out, and how many could not be recorded ({}): that it began is recorded", kind(.0)
    )]
    ReadingEnd(#[source] sqlx::Error),
    /// A query of the records that makes no sense.
    #[error("the query is not understood: {0}")]
    InvalidQuery(String),
    /// Reading or maintaining the audit tables failed.
    #[error("the audit store could not be asked ({})", kind(.0))]
    Store(#[source] sqlx::Error),
    /// No transaction could be begun; nothing was done.
    #[error("no audit transaction could be begun ({})", kind(.0))]
    Begin(#[source] sqlx::Error),
    /// [`Audit::transaction`](crate::Audit::transaction) was called inside an audited handler or
    /// inside another `Audit::transaction`, and would wait for a second connection while its caller
    /// holds one. Many of these at once would wait for each other.
    #[error(
        "Audit::transaction was called inside an audited operation, which may already hold a connection of the same pool: use the `tx` of that operation, or call it from a task of its own (tokio::spawn) if it has to be committed independently"
    )]
    NestedTransaction,
    /// The record was refused; the change was rolled back.
    #[error("the audit record was refused, so the change was rolled back ({})", kind(.0))]
    Record(#[source] sqlx::Error),
    /// The work ended the transaction behind the toolkit's back, so that the record could not
    /// be part of it. Whatever was committed that way is unaudited.
    #[error(
        "the work ended its own transaction (COMMIT, ROLLBACK or an unfinished savepoint): leave begin and commit to AuditTx"
    )]
    TransactionEnded,
    /// The database refused the commit; the change was rolled back.
    #[error("the database refused the commit, so the change was rolled back ({})", kind(.0))]
    Commit(#[source] sqlx::Error),
    /// The connection was lost while committing: look for the record to learn whether the
    /// change was made; both or neither exist.
    #[error(
        "the connection was lost during COMMIT, so its outcome is unknown: the change was made if and only if record {record_id} exists"
    )]
    OutcomeUnknown {
        /// The record to look for with [`Audit::record`](crate::Audit::record).
        record_id: Uuid,
        /// What the driver said.
        source: sqlx::Error,
    },
}

/// SQLSTATE of a commit without its record.
const UNAUDITED: &str = "AU002";
/// SQLSTATE of a record for another transaction than the one that was begun.
const ENDED: &str = "AU003";

impl Error {
    /// Why records were refused.
    pub(crate) fn not_written(error: sqlx::Error) -> Self {
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        if code.as_deref() == Some(ENDED) {
            Self::TransactionEnded
        } else {
            Self::Record(error)
        }
    }

    /// Describes to a handler why the transaction could not begin, as the error of its statement.
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

    /// Of the record of a reading that has handed out records already.
    pub(crate) fn at_the_end(self) -> Self {
        match self {
            Self::Reading(error) => Self::ReadingEnd(error),
            other => other,
        }
    }

    /// The refusal of a guarded table, if that is what `error` is.
    pub(crate) fn unaudited(error: sqlx::Error) -> Result<Self, sqlx::Error> {
        let refused = error
            .as_database_error()
            .filter(|error| error.code().as_deref() == Some(UNAUDITED));
        let Some(refused) = refused else {
            return Err(error);
        };
        // The message names the schema too, between these words.
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

/// For code that commits by itself: [`Error::Unaudited`] if a guarded table refused, else
/// [`Error::Store`].
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::unaudited(error).unwrap_or_else(Self::Store)
    }
}

/// Why [`Audit::transaction`](crate::Audit::transaction) did not commit.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransactionError<E> {
    /// The work itself failed; it was rolled back and the attempt was recorded.
    #[error("the work failed and was rolled back")]
    Work(#[source] E),
    /// The toolkit or the database failed.
    #[error(transparent)]
    Audit(#[from] Error),
}

/// A driver's error in words that hold no data: its class, and the database's code.
pub(crate) fn kind(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => match error.code() {
            // record_read() has a limit.
            Some(code) if code == "AU004" => {
                "this database user has had 1200 readings recorded within a minute: wait a minute, or read more records at once, as by an export".to_owned()
            }
            Some(code) => format!("database error {code}"),
            None => "database error".to_owned(),
        },
        sqlx::Error::Io(error) => format!("connection: {}", error.kind()),
        sqlx::Error::Tls(_) => "connection: TLS".to_owned(),
        sqlx::Error::PoolTimedOut => "no connection became free in time".to_owned(),
        sqlx::Error::PoolClosed => "the pool is closed".to_owned(),
        sqlx::Error::BeginFailed => "BEGIN did not begin".to_owned(),
        sqlx::Error::WorkerCrashed => "the database's worker ended".to_owned(),
        _ => "driver error".to_owned(),
    }
}

fn listed(versions: &[i64]) -> String {
    let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
    versions.join(", ")
}

fn unsafe_why(report: &Report) -> &'static str {
    if report.findings.iter().any(Finding::is_fatal) {
        "no records could be written to the database as it is; mend this"
    } else {
        "the database would let changes go unaudited; mend this, or call AuditBuilder::development(true) where it does not matter"
    }
}
