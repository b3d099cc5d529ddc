//! Spans and durations of what a service asks its database.
//!
//! sqlx says of every statement, in an event of `tracing` with the target `sqlx::query`, what it
//! was and how long it took. A layer of the subscriber turns each into a client span
//! and a point of `db.client.operation.duration`, by OpenTelemetry's stable conventions for
//! databases; no query is touched, and this crate does not depend on sqlx. The log filter
//! still decides whether the event is logged too, which by default it is not.

mod layer;
mod lexer;
mod sanitise;
mod statement;
mod summary;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use layer::Statements;
pub(crate) use statement::{Statement, TARGET};

/// The database that a service uses, for
/// [`TelemetryBuilder::database`](crate::TelemetryBuilder::database).
///
/// Each statement of sqlx's becomes a client span, named by what it does and to which tables
/// (`INSERT entry`), and a point of `db.client.operation.duration`, by OpenTelemetry's stable
/// conventions. Neither holds a value or, unless asked for, the statement's text.
///
/// ```
/// use platform_observability::Database;
///
/// let database = Database::postgresql()
///     .server("db.internal", 5432)
///     .namespace("ledger");
/// ```
///
/// What it cannot know:
///
/// - **Whether a statement failed.** sqlx tells of a statement when it is done with it, however it
///   ended. So there is no `error.type`; the span around the statement has the error.
/// - **Which server answered**, and which database it was, unless [`server`](Self::server) and
///   [`namespace`](Self::namespace) say so. With several databases in one process, all are taken for one.
/// - **The caller, on SQLite**: sqlx runs those statements on a thread of its own, and takes only
///   the current `tracing` span along. In a handler without one, the statement is measured but has
///   no span.
///
/// A statement outside of any trace is measured, and has no span: nobody would find it. Statements
/// of connections with `disable_statement_logging`, or a level of `Off`, are not seen, nor is the
/// `BEGIN` of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it says nothing before it is given to the builder"]
pub struct Database {
    pub(crate) system: &'static str,
    pub(crate) server: Option<(String, u16)>,
    pub(crate) namespace: Option<String>,
    pub(crate) records_text: bool,
}

impl Database {
    /// `db.system.name` is `postgresql`.
    pub fn postgresql() -> Self {
        Self::of("postgresql")
    }

    /// `db.system.name` is `sqlite`.
    pub fn sqlite() -> Self {
        Self::of("sqlite")
    }

    /// `db.system.name` is `mysql`.
    pub fn mysql() -> Self {
        Self::of("mysql")
    }

    fn of(system: &'static str) -> Self {
        Self {
            system,
            server: None,
            namespace: None,
            records_text: false,
        }
    }

    /// `server.address` and `server.port`: the host that the service connects to.
    pub fn server(mut self, address: impl Into<String>, port: u16) -> Self {
        self.server = Some((address.into(), port));
        self
    }

    /// `db.namespace`: the name of the database, such as `ledger`.
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.namespace = Some(name.into());
        self
    }

    /// Records the statement on its span, as `db.query.text`, with `?` in place of every literal and
    /// without comments. Where it is not certain what is a literal, there is no text. By
    /// default there is none at all.
    pub fn record_query_text(mut self) -> Self {
        self.records_text = true;
        self
    }
}
