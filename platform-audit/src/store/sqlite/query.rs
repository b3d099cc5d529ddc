use jiff::Timestamp;
use uuid::Uuid;

use super::super::query::QuerySql;
use super::statements::{INSERT, ROW};

/// The SQL of queries on SQLite.
#[derive(Debug)]
pub(in crate::store) struct SqliteSql;

impl QuerySql for SqliteSql {
    /// Qualified, because a temporary table with the same name would shadow it.
    fn records(&self, schema: &str) -> String {
        format!("main.{schema}_record")
    }

    fn row(&self) -> &'static str {
        &ROW
    }

    fn count(&self) -> &'static str {
        "CAST(count(*) AS TEXT)"
    }

    fn json_object(&self, members: &str) -> String {
        format!("json_object({members})")
    }

    fn as_text(&self, column: &str) -> String {
        column.to_owned()
    }

    /// Values carry their own type, and all arguments are text.
    fn argument(&self, at: usize, kind: &str) -> String {
        match kind {
            "int" => format!("CAST(${at} AS INTEGER)"),
            _ => format!("${at}"),
        }
    }

    /// As `recorded_at` is stored, in whole milliseconds. Rounds up, so that a `recorded_at` is at
    /// or after the result exactly if it is at or after `time`.
    fn time(&self, time: Timestamp) -> String {
        let milliseconds = -(-time.as_microsecond()).div_euclid(1000);
        let time = Timestamp::from_millisecond(milliseconds).unwrap_or(time);
        time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
    }

    fn starts_with(&self, text: &str, prefix: &str) -> String {
        format!("substr({text}, 1, length({prefix})) = {prefix}")
    }

    fn contains(&self, text: &str, part: &str) -> String {
        format!("instr({text}, {part}) > 0")
    }

    fn changes_any(&self, fields: &str) -> String {
        format!("EXISTS (SELECT 1 FROM json_each(record.changes) WHERE key IN ({fields}))")
    }

    fn readable_recorded_at(&self) -> &'static str {
        "record.recorded_at"
    }

    /// Padded to microseconds, because text is compared and stored without trailing zeros.
    fn readable_occurred_at(&self) -> (&'static str, &'static str) {
        (
            "substr(record.occurred_at, 1, 19) || substr(rtrim(substr(record.occurred_at, 20), 'Z') || substr('.000000', max(1, length(record.occurred_at) - 19)), 1, 7) || 'Z'",
            "text",
        )
    }

    fn month(&self) -> &'static str {
        "substr(record.recorded_at, 1, 7)"
    }

    /// Six days before the first Sunday that is not earlier.
    fn week(&self) -> &'static str {
        "date(substr(record.recorded_at, 1, 10), 'weekday 0', '-6 days')"
    }

    fn day(&self) -> &'static str {
        "substr(record.recorded_at, 1, 10)"
    }

    fn hour(&self) -> &'static str {
        "substr(record.recorded_at, 1, 13)"
    }

    fn indexes_requests(&self) -> bool {
        false
    }

    fn horizon(&self) -> String {
        "SELECT json_object('now', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'xmin', 0, 'snapshot', '', 'xmax', 0)".to_owned()
    }

    fn tail_start(&self, _schema: &str) -> String {
        self.horizon()
    }

    fn explain(&self) -> Option<&'static str> {
        None
    }

    fn record_read(&self, schema: &str, record: String, id: Uuid) -> (String, Vec<String>) {
        let statement = INSERT.replace("{schema}", schema);
        (statement, vec![record, id.to_string()])
    }

    /// SQLite has no specific error code for a missing table.
    fn is_not_readable(&self, error: &sqlx::Error) -> bool {
        error.to_string().contains("no such table")
    }
}
