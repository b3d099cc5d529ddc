use std::io::Write;

use serde_json::{Map, Value};

use crate::record::AuditRecord;
use crate::text::escape_json;

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
/// whatever width it is written; and one that was told to, or whose language parts cells by it, begins a
/// cell after each `;`, tab and line break too. So an apostrophe comes before such a beginning, wherever a
/// cell may begin, before a quote or an apostrophe there, and for an empty text, to tell it from none. To take one
/// apostrophe from each such place gives back what was there: [`from_row`] does. JSON has `\u003b` for `;`.
///
/// In a cell that is no JSON, control characters stay as they are, since CSV has no escape for them:
/// do not show a file to a terminal that obeys them.
pub fn to_row(record: &AuditRecord) -> Vec<String> {
    let Ok(Value::Object(fields)) = serde_json::to_value(record) else {
        return Vec::new();
    };
    COLUMNS
        .iter()
        .map(|column| match fields.get(*column) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => escape_controls(text),
            // A `;` of JSON is in a text.
            Some(other) => escape_json(other.to_string()).replace(';', "\\u003b"),
        })
        .collect()
}

/// Writes a row as RFC 4180 has it, at once. `csv::Writer` looks, for each 8 KiB of a cell, for the
/// next quote in all that is left of it, so a long cell takes it quadratic time.
pub(super) fn write_row(
    out: &mut impl Write,
    cells: impl IntoIterator<Item = impl AsRef<str>>,
) -> std::io::Result<()> {
    let mut row = String::new();
    for (at, cell) in cells.into_iter().enumerate() {
        let cell = cell.as_ref();
        if at > 0 {
            row.push(',');
        }
        if cell.contains([',', '"', '\r', '\n']) {
            row.push('"');
            row.push_str(&cell.replace('"', "\"\""));
            row.push('"');
        } else {
            row.push_str(cell);
        }
    }
    row.push_str("\r\n");
    out.write_all(row.as_bytes())
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
            _ => Value::from(as_it_was(cell)),
        };
        fields.insert((*column).to_owned(), value);
    }
    serde_json::from_value(Value::Object(fields))
}

/// After these a spreadsheet may begin a cell.
const PARTS: [char; 4] = [';', '\t', '\r', '\n'];

fn escape_controls(text: &str) -> String {
    if text.is_empty() {
        return "'".to_owned();
    }
    let mut cell = String::with_capacity(text.len());
    let mut begins = true;
    for it in text.chars() {
        // A quote, behind which such a spreadsheet would begin anew.
        let commands = matches!(
            it,
            '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '\'' | '"'
        );
        let at_all = cell.is_empty() && PARTS[1..].contains(&it);
        if begins && (commands || at_all) {
            cell.push('\'');
        }
        cell.push(it);
        begins = PARTS.contains(&it);
    }
    cell
}

/// The text that [`escape_controls`] made `cell` of.
fn as_it_was(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len());
    let mut begins = true;
    for it in cell.chars() {
        if begins && it == '\'' {
            begins = false;
            continue;
        }
        text.push(it);
        begins = PARTS.contains(&it);
    }
    text
}
