use jiff::Timestamp;
use sqlx::error::DatabaseError;
use uuid::Uuid;

use super::super::query::QuerySql;
use super::statements::ROW;

/// The SQL of queries on Postgres.
#[derive(Debug)]
pub(in crate::store) struct PostgresSql;

impl QuerySql for PostgresSql {
    fn records(&self, schema: &str) -> String {
        format!("{schema}.records")
    }

    fn row(&self) -> &'static str {
        &ROW
    }

    fn count(&self) -> &'static str {
        "count(*)::text"
    }

    fn json_object(&self, members: &str) -> String {
        format!("json_build_object({members})::text")
    }

    fn as_text(&self, column: &str) -> String {
        format!("{column}::text")
    }

    fn argument(&self, at: usize, kind: &str) -> String {
        format!("${at}::{kind}")
    }

    fn time(&self, time: Timestamp) -> String {
        time.to_string()
    }

    fn starts_with(&self, text: &str, prefix: &str) -> String {
        format!("starts_with({text}, {prefix})")
    }

    fn contains(&self, text: &str, part: &str) -> String {
        format!("strpos({text}, {part}) > 0")
    }

    fn changes_any(&self, fields: &str) -> String {
        format!("jsonb_exists_any(record.changes, ARRAY[{fields}])")
    }

    /// Clamped to [`EARLIEST`](crate::record::EARLIEST) and [`LATEST`](crate::record::LATEST).
    fn readable_recorded_at(&self) -> &'static str {
        "LEAST(GREATEST(record.recorded_at, '0001-01-01T00:00:00Z'), '9999-12-30T00:00:00Z')"
    }

    /// An unreadable `occurred_at` is replaced by `recorded_at`, as it is when shown.
    fn readable_occurred_at(&self) -> (&'static str, &'static str) {
        (
            "CASE WHEN isfinite(record.occurred_at) THEN record.occurred_at ELSE record.recorded_at END",
            "timestamptz",
        )
    }

    fn month(&self) -> &'static str {
        "to_char(record.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM')"
    }

    fn week(&self) -> &'static str {
        "to_char(date_trunc('week', record.recorded_at AT TIME ZONE 'UTC'), 'YYYY-MM-DD')"
    }

    fn day(&self) -> &'static str {
        "to_char(record.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
    }

    fn hour(&self) -> &'static str {
        r#"to_char(record.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24')"#
    }

    fn indexes_requests(&self) -> bool {
        true
    }

    fn horizon(&self) -> String {
        horizon("")
    }

    fn tail_start(&self, schema: &str) -> String {
        // A running transaction has not committed anything, so records of its id that are visible
        // come from another server. Both have to be in the same snapshot.
        horizon(&format!(
            ", 'restored', (SELECT COALESCE(json_agg(record.id), '[]') FROM {} AS record WHERE record.xid IN (SELECT pg_snapshot_xip(it)))",
            self.records(schema)
        ))
    }

    fn explain(&self) -> Option<&'static str> {
        Some("EXPLAIN (ANALYZE) ")
    }

    fn record_read(&self, schema: &str, record: String, _id: Uuid) -> (String, Vec<String>) {
        let statement = format!("SELECT {schema}.record_read($1::jsonb -> 0)::text");
        (statement, vec![record])
    }

    /// Undefined table, undefined schema, insufficient privilege.
    fn is_not_readable(&self, error: &sqlx::Error) -> bool {
        let code = error.as_database_error().and_then(DatabaseError::code);
        matches!(code.as_deref(), Some("42P01" | "3F000" | "42501"))
    }
}

/// Selects the clock and the snapshot, and `members` of the same JSON object.
fn horizon(members: &str) -> String {
    format!(
        "SELECT json_build_object('now', clock_timestamp(), 'xmin', pg_snapshot_xmin(it)::text::numeric, 'snapshot', it::text, 'xmax', pg_snapshot_xmax(it)::text::numeric{members})::text FROM pg_current_snapshot() AS it"
    )
}
