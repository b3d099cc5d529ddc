//! The text of spans and events.

use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, span};

use super::escape::{Escaped, escaped};
use super::limits::MAX_TEXT_BYTES;

/// The target of platform-audit's DEBUG event for a committed record.
const AUDIT_TARGET: &str = "platform_audit::commit";

/// A formatted event.
#[derive(Debug)]
pub(super) struct EventLine {
    pub(super) kind: EventKind,
    pub(super) text: String,
    pub(super) target: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    Log(Level),
    Audit,
}

impl EventLine {
    pub(super) fn new(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        if is_audit_event(metadata) {
            let mut audit = AuditFields::default();
            event.record(&mut audit);
            return Self {
                kind: EventKind::Audit,
                text: audit.into_text(),
                target: "",
            };
        }
        let mut fields = Fields::new();
        event.record(&mut fields);
        Self {
            kind: EventKind::Log(*metadata.level()),
            text: fields.into_text(),
            target: metadata.target(),
        }
    }
}

/// Whether an event reports a committed audit record.
pub(crate) fn is_audit_event(metadata: &Metadata<'_>) -> bool {
    let has = |name| metadata.fields().field(name).is_some();
    metadata.is_event()
        && metadata.target() == AUDIT_TARGET
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

/// The fields of the HTTP layer's request span (method and path), and of its access event (status
/// and error).
#[derive(Debug, Default)]
pub(super) struct HttpFields {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) status: Option<u64>,
    pub(super) error: Option<String>,
}

impl Visit for HttpFields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "status" {
            self.status = Some(value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let value = escaped(value, MAX_TEXT_BYTES);
        match field.name() {
            "method" => self.method = value,
            "path" => self.path = value,
            "error" => self.error = Some(value),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

/// The message, followed by `name=value` for each field. The fields that start with `otel.`
/// or `log.` are not shown; `otel.name` replaces the name of a span.
pub(super) struct Fields {
    name: Option<Escaped>,
    message: Escaped,
    fields: Escaped,
}

impl Fields {
    pub(super) fn new() -> Self {
        Self {
            name: None,
            message: Escaped::new(MAX_TEXT_BYTES),
            fields: Escaped::new(MAX_TEXT_BYTES),
        }
    }

    pub(super) fn into_text(self) -> String {
        if self.fields.is_empty() {
            return self.message.into_text();
        }
        let fields = self.fields.into_text();
        if self.message.is_empty() {
            return fields;
        }
        let mut text = self.message.into_text();
        text.push(' ');
        text.push_str(&fields);
        text
    }
}

// Writing to `Escaped` cannot fail.
impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => {
                let _ = write!(self.message, "{value:?}");
            }
            "otel.name" => {
                let name = self.name.insert(Escaped::new(MAX_TEXT_BYTES));
                let _ = write!(name, "{value:?}");
            }
            name if name.starts_with("otel.") || name.starts_with("log.") => {}
            name => {
                let gap = if self.fields.is_empty() { "" } else { " " };
                let _ = write!(self.fields, "{gap}{name}={value:?}");
            }
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // Quoted only if it would be ambiguous.
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
            let _ = write!(self.fields, ": {cause}");
            source = cause.source();
        }
    }
}

#[derive(Default)]
struct AuditFields {
    action: String,
    record_id: String,
    records: u64,
}

impl AuditFields {
    fn into_text(self) -> String {
        let mut text = Escaped::new(MAX_TEXT_BYTES);
        let _ = write!(text, "{} {}", self.action, self.record_id);
        if self.records > 1 {
            let _ = write!(text, " and {} more", self.records - 1);
        }
        text.into_text()
    }
}

impl Visit for AuditFields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "action" => self.action = format!("{value:?}"),
            "record_id" => self.record_id = format!("{value:?}"),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "records" {
            self.records = value;
        }
    }
}
