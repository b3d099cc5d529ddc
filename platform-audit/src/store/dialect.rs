use std::sync::Arc;

use super::query::QuerySql;
#[cfg(feature = "seal")]
use super::seal::SealSql;
use super::{ByColumns, Statements, postgres, sqlite};

/// The database that a store uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Postgres,
    Sqlite,
}

impl Dialect {
    /// The SQL of queries.
    pub(crate) fn sql(self) -> &'static dyn QuerySql {
        match self {
            Self::Postgres => &postgres::PostgresSql,
            Self::Sqlite => &sqlite::SqliteSql,
        }
    }

    /// The SQL of the sealed log.
    #[cfg(feature = "seal")]
    pub(crate) fn seal_sql(self) -> &'static dyn SealSql {
        match self {
            Self::Postgres => &postgres::PostgresSql,
            Self::Sqlite => &sqlite::SqliteSql,
        }
    }

    /// Whether a database has schemas, one for each service. Otherwise the tables of a service have
    /// a common prefix.
    pub(crate) fn has_schemas(self) -> bool {
        self == Self::Postgres
    }

    /// Whether each record contains the id of its transaction, and snapshots determine which
    /// transactions are visible. Otherwise there is a single writer.
    pub(crate) fn has_snapshots(self) -> bool {
        self == Self::Postgres
    }

    /// The statement that begins a transaction and attaches `mark` to it: on Postgres as a setting
    /// that is local to the transaction, on SQLite as a savepoint.
    ///
    /// The mark ends with the transaction. If the caller's SQL ended the transaction, its mark is
    /// gone, and the record is refused.
    pub(super) fn begin(self, mark: &str) -> String {
        match self {
            Self::Postgres => format!("BEGIN; SET LOCAL platform_audit.transaction = '{mark}'"),
            // IMMEDIATE takes the write lock now. A transaction that starts as a reader can fail
            // with SQLITE_BUSY, without waiting, at its first write.
            Self::Sqlite => "BEGIN IMMEDIATE; SAVEPOINT platform_audit".to_owned(),
        }
    }

    /// A statement that fails if the transaction is no longer the one that was begun. `None` on
    /// Postgres, where the statement that writes the record checks this, which saves a round trip.
    pub(crate) fn still_in_transaction(self) -> Option<&'static str> {
        match self {
            Self::Postgres => None,
            Self::Sqlite => Some("RELEASE platform_audit"),
        }
    }

    /// A statement that returns `idle` if the connection has no open transaction. `None` on SQLite,
    /// where BEGIN fails inside a transaction.
    pub(crate) fn is_idle(self) -> Option<&'static str> {
        match self {
            // now() is the time at which the transaction began, statement_timestamp() the time at
            // which this statement was received.
            Self::Postgres => {
                Some("SELECT CASE WHEN now() = statement_timestamp() THEN 'idle' ELSE 'busy' END")
            }
            Self::Sqlite => None,
        }
    }

    /// Two statements: the first assigns an id to its own transaction and returns it, the second
    /// returns whether all transactions with ids up to its argument have ended. `None` on SQLite,
    /// which has a single writer, whose locks readers respect.
    ///
    /// The first cannot use `pg_snapshot_xmax` instead: that is one more than the highest id of a
    /// transaction that has *ended*, so running transactions may have that id or a higher one.
    pub(crate) fn settled(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Postgres => Some((
                "SELECT pg_current_xact_id()::text",
                "SELECT (pg_snapshot_xmin(pg_current_snapshot()) > $1::xid8)::text",
            )),
            Self::Sqlite => None,
        }
    }

    /// A statement that returns `writable` if the server accepts writes. A former primary may be a
    /// standby after a failover. `None` on SQLite.
    pub(crate) fn is_writable(self) -> Option<&'static str> {
        match self {
            Self::Postgres => {
                Some("SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'writable' END")
            }
            Self::Sqlite => None,
        }
    }

    /// The SQL of a store whose transactions have this `mark`.
    pub(super) fn statements(self, schema: &str, mark: &str) -> Statements {
        let (insert, alone, find) = match self {
            Self::Postgres => (
                postgres::INSERT.as_str(),
                include_str!("postgres/insert_alone.sql"),
                include_str!("postgres/find.sql"),
            ),
            Self::Sqlite => (
                sqlite::INSERT.as_str(),
                include_str!("sqlite/insert_alone.sql"),
                include_str!("sqlite/find.sql"),
            ),
        };
        let in_schema = |text: &str| {
            Arc::from(
                text.replace("{row}", self.sql().row())
                    .replace("{schema}", schema),
            )
        };
        Statements {
            begin: Arc::from(self.begin(mark)),
            insert: in_schema(&format!("{insert}{alone}")),
            by_columns: match self {
                Self::Postgres => Some(ByColumns {
                    one: in_schema(postgres::INSERT_ONE),
                    several: in_schema(&postgres::INSERT_SEVERAL),
                }),
                // SQLite parses JSON in this process, at a negligible cost.
                Self::Sqlite => None,
            },
            find: in_schema(find),
            insert_with_change: in_schema(insert),
            open_obligation: match self {
                // The guard refuses such a COMMIT, so no obligation stays open.
                Self::Postgres => None,
                Self::Sqlite => Some(in_schema(include_str!("sqlite/open_obligation.sql"))),
            },
        }
    }
}
