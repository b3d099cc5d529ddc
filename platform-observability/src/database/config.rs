/// The database of a service, for
/// [`TelemetryBuilder::database`](crate::TelemetryBuilder::database).
///
/// Each of sqlx's statements becomes a client span, named by its operations and tables (`INSERT
/// entry`), and a point of `db.client.operation.duration`, by OpenTelemetry's stable conventions.
/// Neither contains values or, unless [enabled](Self::record_query_text), the statement's text.
///
/// ```
/// use platform_observability::Database;
///
/// let database = Database::postgresql()
///     .server("db.internal", 5432)
///     .namespace("ledger");
/// ```
///
/// Limitations:
///
/// - **Failures are unknown.** sqlx's event does not contain the statement's result. So there is no
///   `error.type`; the enclosing span has the error.
/// - **The server and the database are unknown**, unless [`server`](Self::server) and
///   [`namespace`](Self::namespace) set them. All databases of a process get the same attributes.
/// - **The caller is unknown on SQLite without a `tracing` span**: sqlx runs statements on a thread
///   of its own, to which it propagates only that span. In a handler without one, the statement is
///   measured but has no span.
///
/// A statement outside a trace is measured but has no span, as no trace would contain it.
/// Statements of connections with `disable_statement_logging` or the level `Off` are not recorded,
/// nor is the `BEGIN` of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "pass it to the builder"]
pub struct Database {
    pub(crate) system: &'static str,
    pub(crate) server: Option<(String, u16)>,
    pub(crate) namespace: Option<String>,
    pub(crate) records_text: bool,
}

impl Database {
    /// PostgreSQL (`db.system.name` is `postgresql`).
    pub fn postgresql() -> Self {
        Self::new("postgresql")
    }

    /// SQLite (`db.system.name` is `sqlite`).
    pub fn sqlite() -> Self {
        Self::new("sqlite")
    }

    /// MySQL (`db.system.name` is `mysql`).
    pub fn mysql() -> Self {
        Self::new("mysql")
    }

    fn new(system: &'static str) -> Self {
        Self {
            system,
            server: None,
            namespace: None,
            records_text: false,
        }
    }

    /// Sets `server.address` and `server.port`.
    pub fn server(mut self, address: impl Into<String>, port: u16) -> Self {
        self.server = Some((address.into(), port));
        self
    }

    /// Sets `db.namespace`, the name of the database, such as `ledger`.
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.namespace = Some(name.into());
        self
    }

    /// Records the statement's text on its span, as `db.query.text`, with every literal replaced by
    /// `?`, and without comments. If databases disagree about which tokens are literals, the text
    /// is omitted. By default no text is recorded.
    pub fn record_query_text(mut self) -> Self {
        self.records_text = true;
        self
    }
}
