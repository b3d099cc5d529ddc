//! The entries of a request, buffered until it has ended.

use std::time::Duration;

use opentelemetry::trace::TraceId;
use tracing::Level;

use super::entry::{EventKind, EventLine};
use super::limits::{MAX_BUFFERING, MAX_BYTES, MAX_ENTRIES};

/// A request that is running, or whose tasks may still run.
#[derive(Debug)]
pub(super) struct RequestBuffer {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) started: Duration,
    pub(super) trace: Option<TraceId>,
    pub(super) entries: Vec<Entry>,
    /// How many entries exceeded the limits.
    pub(super) omitted: u32,
    bytes: usize,
    /// Whether the request was written, because it has ended or takes too long. From then on,
    /// nothing is buffered.
    is_written: bool,
}

/// A span or an event.
#[derive(Debug)]
pub(super) struct Entry {
    /// The index of the enclosing span; `None` is the request.
    pub(super) parent: Option<usize>,
    /// The time since the request's start.
    pub(super) at: Duration,
    pub(super) kind: EntryKind,
}

#[derive(Debug)]
pub(super) enum EntryKind {
    Span {
        name: String,
        fields: String,
        /// `None` until it has ended.
        duration: Option<Duration>,
    },
    Event(EventLine),
}

impl RequestBuffer {
    pub(super) fn new(method: String, path: String, started: Duration) -> Self {
        Self {
            method,
            path,
            started,
            trace: None,
            entries: Vec::new(),
            omitted: 0,
            bytes: 0,
            is_written: false,
        }
    }

    pub(super) fn is_written(&self) -> bool {
        self.is_written
    }

    /// Whether the entries were buffered for too long.
    pub(super) fn is_overdue(&self, now: Duration) -> bool {
        !self.is_written && now.saturating_sub(self.started) > MAX_BUFFERING
    }

    /// Takes the entries, and the number of those that were omitted, to be written.
    pub(super) fn take_entries(&mut self) -> (Vec<Entry>, u32) {
        self.is_written = true;
        (std::mem::take(&mut self.entries), self.omitted)
    }

    /// Buffers a span. Returns its index, if there was room.
    pub(super) fn start_span(
        &mut self,
        parent: Option<usize>,
        now: Duration,
        name: &str,
        fields: &str,
    ) -> Option<usize> {
        if self.is_written {
            return None;
        }
        if !self.has_room(name.len() + fields.len()) {
            self.omitted = self.omitted.saturating_add(1);
            return None;
        }
        self.push(
            parent,
            now,
            EntryKind::Span {
                name: name.to_owned(),
                fields: fields.to_owned(),
                duration: None,
            },
        );
        Some(self.entries.len() - 1)
    }

    /// Appends fields to the span at `index`, if there is room.
    pub(super) fn add_fields(&mut self, index: usize, added: &str) {
        let has_room = self.has_room(added.len() + 1);
        if let Some(entry) = self.entries.get_mut(index)
            && let EntryKind::Span { fields, .. } = &mut entry.kind
            && has_room
        {
            if !fields.is_empty() {
                fields.push(' ');
            }
            fields.push_str(added);
            self.bytes += added.len() + 1;
        }
    }

    pub(super) fn end_span(&mut self, index: usize, now: Duration) {
        let now = now.saturating_sub(self.started);
        if let Some(entry) = self.entries.get_mut(index)
            && let EntryKind::Span { duration, .. } = &mut entry.kind
        {
            *duration = Some(now.saturating_sub(entry.at));
        }
    }

    /// Buffers an event. Returns an event that must be written immediately: if the request was
    /// already written, or if there is no room for a warning or an error.
    pub(super) fn add_event(
        &mut self,
        parent: Option<usize>,
        now: Duration,
        event: EventLine,
    ) -> Option<EventLine> {
        if self.is_written {
            return Some(event);
        }
        if self.has_room(event.text.len()) {
            self.push(parent, now, EntryKind::Event(event));
            return None;
        }
        if matches!(event.kind, EventKind::Log(Level::ERROR | Level::WARN)) {
            return Some(event);
        }
        self.omitted = self.omitted.saturating_add(1);
        None
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.entries.len() < MAX_ENTRIES && self.bytes + bytes <= MAX_BYTES
    }

    fn push(&mut self, parent: Option<usize>, now: Duration, kind: EntryKind) {
        self.bytes += match &kind {
            EntryKind::Span { name, fields, .. } => name.len() + fields.len(),
            EntryKind::Event(event) => event.text.len(),
        };
        let at = now.saturating_sub(self.started);
        self.entries.push(Entry { parent, at, kind });
    }
}
