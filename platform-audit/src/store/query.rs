//! The parts of queries that differ between the databases. Each database implements them beside its
//! SQL.

use jiff::Timestamp;
use uuid::Uuid;

/// The SQL of queries. The table of records has the name or alias `record`. Every `&str` parameter
/// is SQL.
pub(crate) trait QuerySql: std::fmt::Debug + Send + Sync {
    /// The table or view that readers select records from.
    fn records(&self, schema: &str) -> String;

    /// A record as JSON text.
    fn row(&self) -> &'static str;

    /// The number of rows, as text.
    fn count(&self) -> &'static str;

    /// The text of a JSON object with `members`, which alternates names and values.
    fn json_object(&self, members: &str) -> String;

    /// `column` as text, if it is a text or has an enumerated domain.
    fn as_text(&self, column: &str) -> String;

    /// The placeholder of the bind argument with the number `at`, cast to the Postgres type `kind`.
    fn argument(&self, at: usize, kind: &str) -> String;

    /// The text of a bind argument that is compared with `recorded_at`.
    fn time(&self, time: Timestamp) -> String;

    /// Whether `text` starts with `prefix`.
    fn starts_with(&self, text: &str, prefix: &str) -> String;

    /// Whether `text` contains `part`.
    fn contains(&self, text: &str, part: &str) -> String;

    /// Whether the record changes one of `fields`, a list of expressions.
    fn changes_any(&self, fields: &str) -> String;

    /// `recorded_at` as a sort column for which no index is used. Timestamps that cannot be
    /// represented are replaced as in [`EARLIEST`](crate::record::EARLIEST) and
    /// [`LATEST`](crate::record::LATEST).
    fn readable_recorded_at(&self) -> &'static str;

    /// `occurred_at` as a sort column, and the type of its arguments.
    fn readable_occurred_at(&self) -> (&'static str, &'static str);

    /// The month (UTC) of `recorded_at`, as `2026-11`.
    fn month(&self) -> &'static str;

    /// The Monday (UTC) of the week of `recorded_at`, as `2026-11-23`.
    fn week(&self) -> &'static str;

    /// The day (UTC) of `recorded_at`, as `2026-11-23`.
    fn day(&self) -> &'static str;

    /// The hour (UTC) of `recorded_at`, as `2026-11-23T17`.
    fn hour(&self) -> &'static str;

    /// Whether records have an index by request id, and one by trace id.
    fn indexes_requests(&self) -> bool;

    /// Selects the clock and the transaction snapshot of the database, as a JSON object with the
    /// members `now`, `xmin`, `snapshot` and `xmax`.
    fn horizon(&self) -> String;

    /// Like [`horizon`](Self::horizon), with the member `restored`: the ids of visible records
    /// whose transaction id belongs to a running transaction.
    fn tail_start(&self, schema: &str) -> String;

    /// The prefix that makes a statement return its query plan. `None` if that is not supported.
    fn explain(&self) -> Option<&'static str>;

    /// The statement that records a read, and its arguments. `record` is a JSON array with the
    /// record as its only element, and `id` the id of that record.
    fn record_read(&self, schema: &str, record: String, id: Uuid) -> (String, Vec<String>);

    /// Whether a query failed because the records do not exist or may not be read.
    fn is_not_readable(&self, error: &sqlx::Error) -> bool;
}
