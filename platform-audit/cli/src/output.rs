//! Records on a terminal and in a pipe.

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
use platform_audit::query::{Count, MOST_VALUES};
use serde::Serialize;

use crate::harmless::Harmless;
pub(crate) use platform_audit::text::escape_controls;
use platform_audit::text::escape_json;

/// How records are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values, safe to open in a spreadsheet
    Csv,
    /// Apache Parquet, into a file or a pipe
    Parquet,
    /// One OCSF event a line
    Ocsf,
    /// One FHIR R5 AuditEvent a line
    Fhir,
}

/// The standard output. Where whoever reads it has had enough, as `head` has, the command ends
/// without a word. On a terminal, whatever is written, no character commands it.
#[derive(Debug)]
pub(crate) struct Stdout {
    terminal: Option<Harmless>,
}

static HAS_NOBODY_LEFT: AtomicBool = AtomicBool::new(false);

/// Whether nobody reads what is printed any more.
pub(crate) fn has_nobody_left() -> bool {
    HAS_NOBODY_LEFT.load(Ordering::Relaxed)
}

impl Stdout {
    pub(crate) fn new() -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self {
            terminal: is_terminal.then(Harmless::default),
        }
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.terminal {
            None => io::stdout().write(bytes),
            Some(harmless) => {
                let text = harmless.pass(bytes);
                io::stdout()
                    .write_all(text.as_bytes())
                    .map(|()| bytes.len())
            }
        }
        .inspect_err(is_it_over)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush().inspect_err(is_it_over)
    }
}

fn is_it_over(error: &io::Error) {
    if error.kind() == io::ErrorKind::BrokenPipe {
        HAS_NOBODY_LEFT.store(true, Ordering::Relaxed);
    }
}

/// Prints a line.
pub(crate) fn say(line: impl Display) -> io::Result<()> {
    writeln!(Stdout::new(), "{line}")
}

/// Prints lines beside what was asked for, of which none commands the terminal, wherever their
/// words are from. That nobody reads them is no reason to fail.
pub(crate) fn hint(lines: impl Display) {
    for line in lines.to_string().lines() {
        let _unread = writeln!(io::stderr(), "{}", escape_controls(line));
    }
}

/// Says so where a summary may have left something out.
pub(crate) fn all_or_not(counts: &[Count]) {
    if counts.len() >= MOST_VALUES {
        hint(format_args!(
            "only {MOST_VALUES} are shown, the most frequent or the last: there may be more, so name a shorter period"
        ));
    }
}

/// Counts on a terminal what is done, and is not to be seen elsewhere.
pub(crate) fn counter() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {human_pos} records, {per_sec}, {elapsed}");
    let bar = ProgressBar::new_spinner();
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Refuses to write bytes where a person looks.
pub(crate) fn binary_to_terminal() -> anyhow::Result<()> {
    if io::stdout().is_terminal() {
        bail!(
            "Parquet is not for a terminal: send it into a file or a pipe, as in > records.parquet"
        );
    }
    Ok(())
}

/// A table without lines, as other tools like to cut it.
pub(crate) fn table(columns: &[&str]) -> Table {
    let mut table = without_lines();
    table.set_header(columns.to_vec());
    table
}

fn without_lines() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

pub(crate) fn time(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%S.%3f+00:00").to_string()
}

/// At most so many characters of it.
fn short(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).collect();
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
    /// The format of an export, unless it is for people.
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

/// Prints a list of records.
pub(crate) fn records(records: &[AuditRecord], format: Format) -> anyhow::Result<()> {
    let Some(encoded) = format.encoded() else {
        return Ok(Rows::default().print(records)?);
    };
    if format == Format::Parquet {
        binary_to_terminal()?;
    }
    let mut encoder = Encoder::new(encoded, Stdout::new())?;
    for record in records {
        encoder.write(record)?;
    }
    encoder.finish()?;
    Ok(())
}

/// Prints records as they come: rows under one heading, no narrower than those before.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    widths: Vec<u16>,
}

impl Rows {
    pub(crate) fn print(&mut self, records: &[AuditRecord]) -> io::Result<()> {
        let mut table = if self.widths.is_empty() {
            table(&COLUMNS)
        } else {
            without_lines()
        };
        for record in records {
            table.add_row([
                time(record.recorded_at.unwrap_or(record.occurred_at)),
                short(&record.actor.id, 40),
                escape_controls(&record.action),
                short(&resource(record), 60),
                record.outcome.as_str().to_owned(),
                short(record.client_address.as_deref().unwrap_or_default(), 40),
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

/// Prints a JSON document in one line.
pub(crate) fn json_line(value: &impl Serialize) -> io::Result<()> {
    say(escape_json(serde_json::to_string(value)?))
}

/// Prints one record whole, for people.
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

/// What changed, a field a line.
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
    fn what_changed_is_shown_whole() {
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
    fn nothing_in_a_record_commands_the_terminal() {
        assert_eq!(
            escape_controls("\x1b[2J\u{202e}a\nb\u{200b}\u{3164}é🦀"),
            "\\u{1b}[2J\\u{202e}a\\u{a}b\\u{200b}\\u{3164}é🦀"
        );
    }
}
