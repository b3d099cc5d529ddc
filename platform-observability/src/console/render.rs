//! The layout of the output.

use std::fmt::Write;
use std::time::Duration;

use opentelemetry::trace::TraceId;
use tracing::Level;

use super::buffer::{Entry, EntryKind};
use super::entry::{EventKind, EventLine, HttpFields};

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BLUE: &str = "34";
const MAGENTA: &str = "35";
const CYAN: &str = "36";
const DIM: &str = "2";
const BOLD: &str = "1";

/// The width of the path's column. A longer path shifts the columns after it.
const PATH_WIDTH: usize = 44;

pub(super) struct Renderer {
    pub(super) coloured: bool,
}

/// The facts in a request's first line.
pub(super) struct Summary {
    pub(super) now: Duration,
    pub(super) started: Duration,
    pub(super) trace: Option<TraceId>,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) state: RequestState,
}

pub(super) enum RequestState {
    Ended(HttpFields),
    /// The status is not known, for this reason, such as `still running`.
    Unfinished(&'static str),
}

// Writing to a `String` cannot fail.
impl Renderer {
    /// A request and its entries.
    pub(super) fn request(&self, summary: &Summary, entries: &[Entry], omitted: u32) -> String {
        let mut text = self.time(summary.now);
        text.push_str("  ");
        let duration = duration(summary.now.saturating_sub(summary.started));
        let trace = self.trace(summary.trace);
        match &summary.state {
            RequestState::Ended(HttpFields { status, error, .. }) => {
                let status = status.map(|status| status.to_string());
                let is_implied = *error == status;
                let status = status.unwrap_or_else(|| "---".to_owned());
                let colour = match status.as_bytes().first() {
                    Some(b'1' | b'2') => GREEN,
                    Some(b'3') => CYAN,
                    Some(b'4') => YELLOW,
                    _ => RED,
                };
                let path = format!("{:PATH_WIDTH$}", summary.path);
                let _ = write!(
                    text,
                    "{} {} {} {duration:>8}  {trace}",
                    self.paint(colour, &status),
                    self.paint(BOLD, &format!("{:7}", summary.method)),
                    self.paint(BOLD, &path),
                );
                if let Some(error) = error.as_ref().filter(|_| !is_implied) {
                    let _ = write!(text, "  {}", self.paint(RED, error));
                }
            }
            RequestState::Unfinished(reason) => {
                let request = format!("{} {}", summary.method, summary.path);
                let request = format!("{request:width$}", width = PATH_WIDTH + 8);
                let (request, reason) = (self.paint(BOLD, &request), self.paint(DIM, reason));
                let _ = write!(text, "    {request} {duration:>8}  {trace}  {reason}");
            }
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        self.tree(entries, omitted, &mut text);
        text
    }

    /// An event on a line of its own, with the spans around it.
    pub(super) fn event_line(
        &self,
        now: Duration,
        event: &EventLine,
        spans: &[(String, String)],
        trace: Option<TraceId>,
    ) -> String {
        let mut text = self.time(now);
        text.push_str("  ");
        let mut prefix = String::new();
        for (name, fields) in spans {
            prefix.push_str(name);
            if !fields.is_empty() {
                let _ = write!(prefix, "{{{fields}}}");
            }
            prefix.push_str(": ");
        }
        self.event(event, &self.paint(DIM, &prefix), &mut text);
        if trace.is_some() {
            let _ = write!(text, "  {}", self.trace(trace));
        }
        text.push('\n');
        text
    }

    fn tree(&self, entries: &[Entry], omitted: u32, text: &mut String) {
        // The children of the request, followed by those of each entry. They are sorted by time, as
        // statements are buffered only when they have ended.
        let slot = |parent: Option<usize>| parent.map_or(0, |index| index + 1);
        let mut children = vec![Vec::new(); entries.len() + 1];
        for (index, entry) in entries.iter().enumerate() {
            if let Some(siblings) = children.get_mut(slot(entry.parent)) {
                siblings.push(index);
            }
        }
        let at = |index: &usize| entries.get(*index).map(|entry| entry.at);
        for siblings in &mut children {
            siblings.sort_by_key(at);
        }
        let is_last = |index: usize, entry: &Entry| {
            let siblings = children.get(slot(entry.parent));
            siblings.and_then(|siblings| siblings.last()) == Some(&index)
                && (omitted == 0 || entry.parent.is_some())
        };
        let first = children.first().into_iter().flatten().rev().copied();
        let mut open: Vec<(usize, String)> = first.map(|index| (index, String::new())).collect();
        while let Some((index, indent)) = open.pop() {
            let Some(entry) = entries.get(index) else {
                continue;
            };
            let is_last = is_last(index, entry);
            let branch = if is_last { "└─ " } else { "├─ " };
            let at = format!("{:>13}", format!("+{}", duration(entry.at)));
            let branch = self.paint(DIM, &format!("{at}      {indent}{branch}"));
            text.push_str(&branch);
            match &entry.kind {
                EntryKind::Event(event) => self.event(event, "", text),
                EntryKind::Span {
                    name,
                    fields,
                    duration: elapsed,
                } => {
                    text.push_str(&self.paint(BOLD, name));
                    if !fields.is_empty() {
                        let _ = write!(text, " {fields}");
                    }
                    match elapsed {
                        Some(elapsed) => {
                            let _ = write!(text, " · {}", duration(*elapsed));
                        }
                        None => text.push_str(" · open"),
                    }
                }
            }
            text.push('\n');
            let nested = children.get(index + 1).into_iter().flatten().rev();
            let indent = indent + if is_last { "   " } else { "│  " };
            open.extend(nested.map(|index| (*index, indent.clone())));
        }
        if omitted > 0 {
            let branch = format!("{:>13}      └─ … and {omitted} more", "");
            text.push_str(&self.paint(DIM, &branch));
            text.push('\n');
        }
    }

    fn event(&self, event: &EventLine, prefix: &str, text: &mut String) {
        match event.kind {
            EventKind::Audit => {
                let audit = self.paint(GREEN, "✔ audit");
                let _ = write!(text, "{prefix}{audit} {}", event.text);
            }
            EventKind::Log(level) => {
                let colour = match level {
                    Level::ERROR => RED,
                    Level::WARN => YELLOW,
                    Level::INFO => GREEN,
                    Level::DEBUG => BLUE,
                    Level::TRACE => MAGENTA,
                };
                let level = self.paint(colour, &format!("{level:5}"));
                let target = self.paint(DIM, event.target);
                let _ = write!(text, "{level} {prefix}{}  {target}", event.text);
            }
        }
    }

    /// The time of day (UTC).
    fn time(&self, now: Duration) -> String {
        let seconds = now.as_secs() % 86_400;
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let millis = now.subsec_millis();
        self.paint(
            DIM,
            &format!("{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z"),
        )
    }

    /// The first eight digits of the trace id, which are enough to search for it.
    fn trace(&self, trace: Option<TraceId>) -> String {
        let digits = trace.map(|trace| format!("{trace}")).unwrap_or_default();
        self.paint(DIM, digits.get(..8).unwrap_or_default())
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.coloured && !text.is_empty() {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Formats a duration in microseconds, milliseconds or seconds, whichever needs fewest digits.
fn duration(elapsed: Duration) -> String {
    let micros = elapsed.as_micros();
    if micros < 1000 {
        format!("{micros}µs")
    } else if micros < 1_000_000 {
        format!("{:.1}ms", elapsed.as_secs_f64() * 1e3)
    } else {
        format!("{:.1}s", elapsed.as_secs_f64())
    }
}
