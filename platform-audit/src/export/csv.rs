use std::io::Write;

use serde_json::{Map, Value};

use crate::record::{AuditRecord, COLUMNS, ColumnValue, Kind};
use crate::text::escape_json;

/// The cells of a record, in the order of the columns. `changes`, `details` and `cut` are JSON.
///
/// Cells are escaped against formula injection. Spreadsheets treat a cell as a formula if it starts
/// with `=`, `+`, `-`, `@`, a tab or a line break, also in their full-width forms. Some, depending
/// on locale and import settings, also start a new cell after each `;`, tab and line break.
///
/// An apostrophe is therefore inserted at each position where a spreadsheet may start a cell, if
/// the next character is one of these, a quote or an apostrophe. An empty text becomes a single
/// apostrophe, to distinguish it from a missing one. [`from_row`] removes exactly these
/// apostrophes. In JSON, `;` is written as `\u003b`.
///
/// In cells that are not JSON, control characters are kept, as CSV has no escape for them: do not
/// print the file to a terminal that interprets them.
pub fn to_row(record: &AuditRecord) -> Vec<String> {
    let cell = |value: ColumnValue<'_>| {
        let text = value.text()?;
        Some(match value {
            // In JSON, a `;` occurs only inside strings.
            ColumnValue::Json(_) => escape_json(text.into_owned()).replace(';', "\\u003b"),
            _ => escape_controls(&text),
        })
    };
    COLUMNS
        .iter()
        .map(|column| cell((column.value)(record)).unwrap_or_default())
        .collect()
}

/// Writes a row as in RFC 4180, in linear time. For each 8 KiB of a cell, `csv::Writer` searches
/// the rest of the cell for the next quote, which takes quadratic time for a long cell.
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

/// Parses a row that [`to_row`] returned.
///
/// # Errors
///
/// If the row does not represent a record.
pub fn from_row<'a>(
    row: impl IntoIterator<Item = &'a str>,
) -> Result<AuditRecord, serde_json::Error> {
    let mut fields = Map::new();
    for (column, cell) in COLUMNS.iter().zip(row) {
        let value = match column.kind {
            Kind::Json => serde_json::from_str(cell)?,
            _ if cell.is_empty() => Value::Null,
            Kind::Status => serde_json::from_str(cell)?,
            _ => Value::from(unescape(cell)),
        };
        fields.insert(column.name.to_owned(), value);
    }
    serde_json::from_value(Value::Object(fields))
}

/// Characters after which a spreadsheet may start a new cell.
const CELL_SEPARATORS: [char; 4] = [';', '\t', '\r', '\n'];

fn escape_controls(text: &str) -> String {
    if text.is_empty() {
        return "'".to_owned();
    }
    let mut cell = String::with_capacity(text.len());
    let mut at_start = true;
    for it in text.chars() {
        // Including quotes, after which a spreadsheet may start a cell.
        let starts_formula = matches!(
            it,
            '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '\'' | '"'
        );
        let is_leading_whitespace = cell.is_empty() && CELL_SEPARATORS[1..].contains(&it);
        if at_start && (starts_formula || is_leading_whitespace) {
            cell.push('\'');
        }
        cell.push(it);
        at_start = CELL_SEPARATORS.contains(&it);
    }
    cell
}

/// Reverses [`escape_controls`].
fn unescape(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len());
    let mut at_start = true;
    for it in cell.chars() {
        if at_start && it == '\'' {
            at_start = false;
            continue;
        }
        text.push(it);
        at_start = CELL_SEPARATORS.contains(&it);
    }
    text
}
