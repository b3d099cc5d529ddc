use std::sync::Arc;

use uuid::Uuid;

use super::{ByColumns, Statements, postgres, sqlite};

/// Which database's SQL a store speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Postgres,
    Sqlite,
}

impl Dialect {
    /// The statement that begins a transaction, and marks it as one that a store with this mark began.
    ///
    /// The mark dies with the transaction, so that a record can refuse to be written when the work
    /// ended the transaction by itself: on Postgres a setting local to the transaction, on SQLite a
    /// savepoint.
    pub(super) fn begin(self, mark: &str) -> String {
        match self {
            Self::Postgres => format!("BEGIN; SET LOCAL platform_audit.transaction = '{mark}'"),
            // IMMEDIATE: a reader that becomes a writer may be refused without waiting.
            Self::Sqlite => "BEGIN IMMEDIATE; SAVEPOINT platform_audit".to_owned(),
        }
    }

    /// Fails when the transaction is no longer the one that was begun. On Postgres the
    /// statement that writes the record checks that by itself, which saves a round trip.
    pub(crate) fn still_in_transaction(self) -> Option<&'static str> {
        match self {
            Self::Postgres => None,
            Self::Sqlite => Some("RELEASE platform_audit"),
        }
    }

    /// Answers `idle` on a connection that is in no transaction.
    pub(crate) fn is_idle(self) -> Option<&'static str> {
        match self {
            // now() is when the transaction began, statement_timestamp() when this message came.
            Self::Postgres => {
                Some("SELECT CASE WHEN now() = statement_timestamp() THEN 'idle' ELSE 'busy' END")
            }
            // BEGIN fails inside a transaction.
            Self::Sqlite => None,
        }
    }

    /// A statement that numbers a transaction of its own, and one that says whether all before that of
    /// its argument have ended.
    ///
    /// The end of a snapshot would not do for the first: it is the number after the last transaction
    /// that *ended*, which one that is at work may bear.
    pub(crate) fn settled(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Postgres => Some((
                "SELECT pg_current_xact_id()::text",
                "SELECT (pg_snapshot_xmin(pg_current_snapshot()) > $1::xid8)::text",
            )),
            // It has one writer at a time, whose locks a reader sees.
            Self::Sqlite => None,
        }
    }

    /// Answers `writable` on a server that takes writes: not on a standby, as the writer of
    /// yesterday may be after a failover.
    pub(crate) fn is_writable(self) -> Option<&'static str> {
        match self {
            Self::Postgres => {
                Some("SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'writable' END")
            }
            Self::Sqlite => None,
        }
    }

    /// A record as JSON text, of a table that goes by the name `record`.
    pub(crate) fn row(self) -> &'static str {
        match self {
            Self::Postgres => &postgres::ROW,
            Self::Sqlite => &sqlite::ROW,
        }
    }

    /// What readers may read records from.
    pub(crate) fn records(self, schema: &str) -> String {
        match self {
            Self::Postgres => format!("{schema}.records"),
            // A temporary table of the same name would be read in its place.
            Self::Sqlite => format!("main.{schema}_record"),
        }
    }

    /// The statement that leaves a record of a reading, and its arguments: the record, as the only
    /// one of a JSON array, and its id.
    pub(crate) fn record_read(
        self,
        schema: &str,
        record: String,
        id: Uuid,
    ) -> (String, Vec<String>) {
        match self {
            Self::Postgres => (
                format!("SELECT {schema}.record_read($1::jsonb -> 0)::text"),
                vec![record],
            ),
            Self::Sqlite => (
                sqlite::INSERT.replace("{schema}", schema),
                vec![record, id.to_string()],
            ),
        }
    }

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
                text.replace("{row}", self.row())
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
                // It takes no time to read JSON there: there is no server.
                Self::Sqlite => None,
            },
            find: in_schema(find),
            insert_with_change: in_schema(insert),
            open_obligation: match self {
                // The database itself refuses at COMMIT, for good.
                Self::Postgres => None,
                Self::Sqlite => Some(in_schema(include_str!("sqlite/open_obligation.sql"))),
            },
        }
    }
}
