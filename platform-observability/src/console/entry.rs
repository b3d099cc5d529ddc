//! What is shown of one event or span.

use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, span};

use super::LONGEST;
use super::escape::Escaped;

/// Where platform-audit says, at DEBUG, that a record was committed.
const AUDIT: &str = "platform_audit::work";

/// An event, as it is shown.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) target: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Event(Level),
    Audit,
}

impl Line {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        if is_audit(metadata) {
            let mut audit = Audit::default();
            event.record(&mut audit);
            return Self {
                kind: Kind::Audit,
                text: audit.into_text(),
                target: "",
            };
        }
        let mut fields = Fields::new();
        event.record(&mut fields);
        Self {
            kind: Kind::Event(*metadata.level()),
            text: fields.into_text(),
            target: metadata.target(),
        }
    }
}

/// Whether such an event tells of an audit record that was committed.
pub(crate) fn is_audit(metadata: &Metadata<'_>) -> bool {
    let has = |name| metadata.fields().field(name).is_some();
    metadata.is_event()
        && metadata.target() == AUDIT
        && *metadata.level() == Level::DEBUG
        && has("record_id")
        && has("action")
        && has("records")
}

/// A span's name and fields.
pub(super) fn name_and_fields(attributes: &span::Attributes<'_>) -> (String, String) {
    let mut fields = Fields::new();
    attributes.record(&mut fields);
    let name = fields.name.take().map_or_else(
        || attributes.metadata().name().to_owned(),
        Escaped::into_text,
    );
    (name, fields.into_text())
}

/// The message, and then `name=value` for each field; of those that tell OpenTelemetry about a
/// span only its name.
pub(super) struct Fields {
    name: Option<Escaped>,
    message: Escaped,
    others: Escaped,
}

impl Fields {
    pub(super) fn new() -> Self {
        Self {
            name: None,
            message: Escaped::new(LONGEST),
            others: Escaped::new(LONGEST),
        }
    }

    pub(super) fn into_text(self) -> String {
        if self.others.is_empty() {
            return self.message.into_text();
        }
        let others = self.others.into_text();
        if self.message.is_empty() {
            return others;
        }
        let mut text = self.message.into_text();
        text.push(' ');
        text.push_str(&others);
        text
    }
}

// None of the writers fails.
impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => {
                let _ = write!(self.message, "{value:?}");
            }
            "otel.name" => {
                let name = self.name.insert(Escaped::new(LONGEST));
                let _ = write!(name, "{value:?}");
            }
            name if name.starts_with("otel.") || name.starts_with("log.") => {}
            name => {
                let gap = if self.others.is_empty() { "" } else { " " };
                let _ = write!(self.others, "{gap}{name}={value:?}");
            }
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // Without quotation marks where nothing is to be told apart.
        let is_plain = !value.is_empty() && !value.contains([' ', '"', '=']);
        if is_plain || matches!(field.name(), "message" | "otel.name") {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(self.others, ": {cause}");
            source = cause.source();
        }
    }
}

#[derive(Default)]
struct Audit {
    action: String,
    record: String,
    records: u64,
}

impl Audit {
    fn into_text(self) -> String {
        let mut text = Escaped::new(LONGEST);
        let _ = write!(text, "{} {}", self.action, self.record);
        if self.records > 1 {
            let _ = write!(text, " and {} more", self.records - 1);
        }
        text.into_text()
    }
}

impl Visit for Audit {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "action" => self.action = format!("{value:?}"),
            "record_id" => self.record = format!("{value:?}"),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "records" {
            self.records = value;
        }
    }
}
