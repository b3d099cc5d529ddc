//! What is held of a request until it has ended.

use std::time::Duration;

use opentelemetry::trace::TraceId;
use tracing::Level;

use super::entry::{Kind, Line};
use super::{MOST_BYTES, MOST_ENTRIES, PATIENCE};

/// A request that goes on, or has ended and may still have tasks.
#[derive(Debug)]
pub(super) struct Request {
    /// `{method} {route}`.
    pub(super) name: String,
    pub(super) started: Duration,
    pub(super) trace: Option<TraceId>,
    pub(super) entries: Vec<Entry>,
    /// What was too much to hold.
    pub(super) more: u32,
    bytes: usize,
    /// Whether nothing is held any more: it has ended, or goes on for too long.
    is_shown: bool,
}

/// A span or an event, below a span or the request itself.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) parent: Option<usize>,
    pub(super) at: Duration,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Span {
        name: String,
        fields: String,
        /// How long it took, once it has ended.
        lasted: Option<Duration>,
    },
    Line(Line),
}

impl Request {
    pub(super) fn new(name: String, started: Duration) -> Self {
        Self {
            name,
            started,
            trace: None,
            entries: Vec::new(),
            more: 0,
            bytes: 0,
            is_shown: false,
        }
    }

    pub(super) fn is_shown(&self) -> bool {
        self.is_shown
    }

    /// Whether to show what there is, rather than to wait for the end.
    pub(super) fn is_late(&self, now: Duration) -> bool {
        !self.is_shown && now.saturating_sub(self.started) > PATIENCE
    }

    /// Takes what is held; from now on nothing is.
    pub(super) fn show(&mut self) -> (Vec<Entry>, u32) {
        self.is_shown = true;
        (std::mem::take(&mut self.entries), self.more)
    }

    /// Holds a span, and says where, if there is room.
    pub(super) fn begin(
        &mut self,
        parent: Option<usize>,
        now: Duration,
        name: &str,
        fields: &str,
    ) -> Option<usize> {
        if self.is_shown {
            return None;
        }
        if !self.has_room(name.len() + fields.len()) {
            self.more = self.more.saturating_add(1);
            return None;
        }
        self.push(
            parent,
            now,
            What::Span {
                name: name.to_owned(),
                fields: fields.to_owned(),
                lasted: None,
            },
        );
        Some(self.entries.len() - 1)
    }

    /// Says that the span at `index` has more fields.
    pub(super) fn add_fields(&mut self, index: usize, more: &str) {
        let has_room = self.has_room(more.len() + 1);
        if let Some(entry) = self.entries.get_mut(index)
            && let What::Span { fields, .. } = &mut entry.what
            && has_room
        {
            if !fields.is_empty() {
                fields.push(' ');
            }
            fields.push_str(more);
            self.bytes += more.len() + 1;
        }
    }

    pub(super) fn end(&mut self, index: usize, now: Duration) {
        let now = now.saturating_sub(self.started);
        if let Some(entry) = self.entries.get_mut(index)
            && let What::Span { lasted, .. } = &mut entry.what
        {
            *lasted = Some(now.saturating_sub(entry.at));
        }
    }

    /// Holds an event, or gives it back to be shown at once: where all was shown already, and
    /// where there is no room for a warning.
    pub(super) fn add(&mut self, parent: Option<usize>, now: Duration, line: Line) -> Option<Line> {
        if self.is_shown {
            return Some(line);
        }
        if self.has_room(line.text.len()) {
            self.push(parent, now, What::Line(line));
            return None;
        }
        if matches!(line.kind, Kind::Event(Level::ERROR | Level::WARN)) {
            return Some(line);
        }
        self.more = self.more.saturating_add(1);
        None
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.entries.len() < MOST_ENTRIES && self.bytes + bytes <= MOST_BYTES
    }

    fn push(&mut self, parent: Option<usize>, now: Duration, what: What) {
        self.bytes += match &what {
            What::Span { name, fields, .. } => name.len() + fields.len(),
            What::Line(line) => line.text.len(),
        };
        let at = now.saturating_sub(self.started);
        self.entries.push(Entry { parent, at, what });
    }
}
