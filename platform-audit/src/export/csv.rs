use serde_json::{Map, Value};

use crate::record::AuditRecord;

/// The columns, in their order: the elements of a record.
pub(super) const COLUMNS: [&str; 29] = [
    "id",
    "xid",
    "occurred_at",
    "recorded_at",
    "service",
    "service_version",
    "actor_kind",
    "actor_id",
    "actor_session",
    "actor_tenant",
    "actor_on_behalf_of",
    "action",
    "resource_type",
    "resource_id",
    "outcome",
    "status",
    "error_type",
    "reason",
    "request_id",
    "method",
    "route",
    "path",
    "client_address",
    "user_agent",
    "trace_id",
    "span_id",
    "changes",
    "details",
    "cut",
];

/// The cells of a record, in the order of the columns. `changes`, `details` and `cut` are JSON.
///
/// A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a line break for a formula, in
/// whatever width it is written. Such a cell gets an apostrophe before it, as does one that begins with an
/// apostrophe, and an empty text, to tell it from none. So to take one apostrophe from the beginning of
/// each cell gives back what was there: [`from_row`] does.
pub fn to_row(record: &AuditRecord) -> Vec<String> {
    let Ok(Value::Object(fields)) = serde_json::to_value(record) else {
        return Vec::new();
    };
    COLUMNS
        .iter()
        .map(|column| match fields.get(*column) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => inert(text),
            Some(other) => other.to_string(),
        })
        .collect()
}

/// The record of a row that [`to_row`] made.
///
/// # Errors
///
/// When the row is none of a record.
pub fn from_row<'a>(
    row: impl IntoIterator<Item = &'a str>,
) -> Result<AuditRecord, serde_json::Error> {
    let mut fields = Map::new();
    for (column, cell) in COLUMNS.iter().zip(row) {
        let value = match *column {
            "changes" | "details" | "cut" => serde_json::from_str(cell)?,
            "status" if !cell.is_empty() => serde_json::from_str(cell)?,
            _ if cell.is_empty() => Value::Null,
            _ => Value::from(cell.strip_prefix('\'').unwrap_or(cell)),
        };
        fields.insert((*column).to_owned(), value);
    }
    serde_json::from_value(Value::Object(fields))
}

fn inert(text: &str) -> String {
    let dangerous = |first: char| {
        matches!(
            first,
            '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\'' | '＝' | '＋' | '－' | '＠'
        )
    };
    if text.is_empty() || text.starts_with(dangerous) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}
