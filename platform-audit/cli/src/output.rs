//! Output of records to a terminal or a pipe.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::bail;
use clap::ValueEnum;
use comfy_table::{ColumnConstraint, Table, Width, presets};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use platform_audit::AuditRecord;
use platform_audit::export::{self, Encoder};
use platform_audit::query::{Count, MAX_VALUES};
use serde::Serialize;

use crate::terminal::TerminalFilter;
pub(crate) use platform_audit::text::escape_controls;
use platform_audit::text::escape_json;

/// The output format of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table
    Table,
    /// One JSON document
    Json,
    /// One JSON object per line
    Jsonl,
    /// Comma-separated values, safe to open in a spreadsheet
    Csv,
    /// Apache Parquet, for a file or a pipe
    Parquet,
    /// One OCSF event per line
    Ocsf,
    /// One FHIR R5 AuditEvent per line
    Fhir,
}

/// The output format of counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CountFormat {
    /// A table
    Table,
    /// One JSON document
    Json,
    /// One JSON object per line
    Jsonl,
}

/// Standard output. If the reader closes the pipe, as `head` does, the command ends silently. On a
/// terminal, control characters are escaped.
#[derive(Debug)]
pub(crate) struct Stdout {
    terminal: Option<TerminalFilter>,
}

static PIPE_CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether the reader has closed the pipe.
pub(crate) fn is_pipe_closed() -> bool {
    PIPE_CLOSED.load(Ordering::Relaxed)
}

impl Stdout {
    pub(crate) fn new() -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self {
            terminal: is_terminal.then(TerminalFilter::default),
        }
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.terminal {
            None => io::stdout().write(bytes),
            Some(filter) => {
                let text = filter.filter(bytes);
                io::stdout()
                    .write_all(text.as_bytes())
                    .map(|()| bytes.len())
            }
        }
        .inspect_err(note_closed_pipe)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush().inspect_err(note_closed_pipe)
    }
}

fn note_closed_pipe(error: &io::Error) {
    if error.kind() == io::ErrorKind::BrokenPipe {
        PIPE_CLOSED.store(true, Ordering::Relaxed);
    }
}

/// Prints a line.
pub(crate) fn say(line: impl Display) -> io::Result<()> {
    writeln!(Stdout::new(), "{line}")
}

/// Prints lines to standard error, with control characters escaped. A closed standard error is
/// ignored.
pub(crate) fn hint(lines: impl Display) {
    for line in lines.to_string().lines() {
        let _ignored = writeln!(io::stderr(), "{}", escape_controls(line));
    }
}

/// Warns if a summary may be truncated.
pub(crate) fn warn_if_truncated(counts: &[Count]) {
    if counts.len() >= MAX_VALUES {
        hint(format_args!(
            "only {MAX_VALUES} are shown, the most frequent or the latest: there may be more, so choose a shorter period"
        ));
    }
}

/// A progress counter, visible on a terminal only.
pub(crate) fn counter() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {human_pos} records, {per_sec}, {elapsed}");
    let bar = ProgressBar::new_spinner();
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A bar of progress over entries of the sealed log. It is shown on a terminal only.
pub(crate) fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{bar:30} {human_pos} of {human_len} entries, {per_sec}, {eta} left",
    );
    let bar = ProgressBar::new(0);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Escapes control characters, except for line breaks.
pub(crate) fn escape_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(escape_controls).collect();
    lines.join("\n")
}

/// Fails if binary output would go to a terminal.
pub(crate) fn refuse_binary_on_terminal() -> anyhow::Result<()> {
    if io::stdout().is_terminal() {
        bail!(
            "Parquet cannot be printed on a terminal: redirect it to a file or a pipe, as in > records.parquet"
        );
    }
    Ok(())
}

/// A table without borders, so that other tools can split its columns at whitespace.
pub(crate) fn table(columns: &[&str]) -> Table {
    let mut table = borderless();
    table.set_header(columns.to_vec());
    table
}

fn borderless() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3f+00:00").to_string()
}

/// Truncates text to `limit` characters, and escapes it.
fn truncated(text: &str, limit: usize) -> String {
    let mut shown: String = text.chars().take(limit).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    escape_controls(&shown)
}

pub(crate) fn resource(record: &AuditRecord) -> String {
    let id = record.resource_id.as_deref().unwrap_or_default();
    match &record.resource_type {
        Some(kind) => format!("{kind} {id}"),
        None => id.to_owned(),
    }
}

impl Format {
    /// The export format; `None` for a table.
    pub(crate) fn encoded(self) -> Option<export::Format> {
        match self {
            Self::Table => None,
            Self::Json => Some(export::Format::Json),
            Self::Jsonl => Some(export::Format::JsonLines),
            Self::Csv => Some(export::Format::Csv),
            Self::Parquet => Some(export::Format::Parquet),
            Self::Ocsf => Some(export::Format::Ocsf),
            Self::Fhir => Some(export::Format::Fhir),
        }
    }
}

/// Prints records.
pub(crate) fn records(records: &[AuditRecord], format: Format) -> anyhow::Result<()> {
    let Some(encoded) = format.encoded() else {
        return Ok(Rows::default().print(records)?);
    };
    if format == Format::Parquet {
        refuse_binary_on_terminal()?;
    }
    let mut encoder = Encoder::new(encoded, Stdout::new())?;
    for record in records {
        encoder.write(record)?;
    }
    encoder.finish()?;
    Ok(())
}

/// Prints records in batches, as rows under one heading. Columns only get wider, so that rows of
/// different batches stay aligned.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    widths: Vec<u16>,
}

impl Rows {
    pub(crate) fn print(&mut self, records: &[AuditRecord]) -> io::Result<()> {
        let mut table = if self.widths.is_empty() {
            table(&COLUMNS)
        } else {
            borderless()
        };
        for record in records {
            table.add_row([
                time(record.recorded_at.unwrap_or(record.occurred_at)),
                truncated(&record.actor.id, 40),
                escape_controls(&record.action),
                truncated(&resource(record), 60),
                record.outcome.as_str().to_owned(),
                truncated(record.client_address.as_deref().unwrap_or_default(), 40),
                record.id.to_string(),
            ]);
        }
        for (column, width) in table.column_iter_mut().zip(&self.widths) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(
                *width + column.padding_width(),
            )));
        }
        let mut widths = table.column_max_content_widths();
        for (width, before) in widths.iter_mut().zip(&self.widths) {
            *width = (*width).max(*before);
        }
        self.widths = widths;
        say(table.trim_fmt())
    }
}

const COLUMNS: [&str; 7] = [
    "time", "actor", "action", "resource", "outcome", "address", "record",
];

/// Prints a JSON document.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    say(escape_json(serde_json::to_string_pretty(value)?))
}

/// Prints a JSON document on one line.
pub(crate) fn json_line(value: &impl Serialize) -> io::Result<()> {
    say(escape_json(serde_json::to_string(value)?))
}

/// Prints one record in full, as text.
pub(crate) fn record(record: &AuditRecord) -> io::Result<()> {
    let mut out = Stdout::new();
    let serde_json::Value::Object(fields) = serde_json::to_value(record)? else {
        return Ok(());
    };
    for (name, value) in fields {
        match value {
            serde_json::Value::Null => {}
            serde_json::Value::String(text) => {
                writeln!(out, "{name:<20}{}", escape_controls(&text))?;
            }
            serde_json::Value::Object(all) if all.is_empty() => {}
            serde_json::Value::Array(all) if all.is_empty() => {}
            _ if name == "changes" => {}
            other => writeln!(out, "{name:<20}{}", escape_controls(&other.to_string()))?,
        }
    }
    changes(&mut out, record)
}

/// Prints the changes, one field per line.
pub(crate) fn changes(out: &mut impl Write, record: &AuditRecord) -> io::Result<()> {
    for (field, change) in &record.changes {
        let side = |value: &Option<serde_json::Value>| match value {
            Some(value) => escape_controls(&value.to_string()),
            None => "(none)".to_owned(),
        };
        writeln!(
            out,
            "    {}: {} → {}",
            escape_controls(field),
            side(&change.before),
            side(&change.after)
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use platform_audit::AuditRecord;
    use serde_json::json;

    use super::{changes, escape_controls};

    #[test]
    fn changes_are_not_truncated() {
        let after = "x".repeat(10_000);
        let record: AuditRecord = serde_json::from_value(json!({
            "id": "0197a21c-4220-7df7-8a0c-a0b266c6b31e", "xid": "1",
            "occurred_at": "2026-11-27T00:00:00Z", "recorded_at": "2026-11-27T00:00:00Z",
            "service": "ledger", "actor_kind": "user", "actor_id": "ada", "action": "entry.create",
            "outcome": "success", "changes": {"note": {"after": after}}, "details": {}, "cut": [],
        }))
        .unwrap();
        let mut shown = Vec::new();
        changes(&mut shown, &record).unwrap();
        let expected = format!("    note: (none) → \"{after}\"\n");
        assert_eq!(String::from_utf8(shown).unwrap(), expected);
    }

    #[test]
    fn control_characters_in_a_record_are_escaped() {
        assert_eq!(
            escape_controls("\x1b[2J\u{202e}a\nb\u{200b}\u{3164}é🦀"),
            "\\u{1b}[2J\\u{202e}a\\u{a}b\\u{200b}\\u{3164}é🦀"
        );
    }
}
