use std::fmt::{Display, Write};

use serde::Serialize;
use uuid::Uuid;

use crate::record::AuditRecord;

/// Hands over the columns of `record` in the order of `postgres/insert_one.sql`, as text.
pub(super) fn columns(record: &AuditRecord, put: &mut dyn FnMut(Option<&str>)) {
    own(record, put);
    shared(record, put);
}

/// How many columns are a record's [own].
const OWN: usize = 7;

/// The columns that may differ between the records of a transaction.
fn own(record: &AuditRecord, put: &mut dyn FnMut(Option<&str>)) {
    let mut made = Made(String::with_capacity(64));
    let mut id = Uuid::encode_buffer();
    put(Some(record.id.hyphenated().encode_lower(&mut id)));
    put(Some(&record.action));
    put(record.resource_type.as_deref());
    put(record.resource_id.as_deref());
    put(Some(made.json(&record.changes)));
    put(Some(made.json(&record.details)));
    put(Some(made.json(&record.cut)));
}

/// Those that are the same, as they are the request's or the work's.
fn shared(record: &AuditRecord, put: &mut dyn FnMut(Option<&str>)) {
    let actor = &record.actor;
    let mut made = Made(String::with_capacity(64));
    put(Some(made.text(record.occurred_at)));
    put(Some(&record.service));
    put(record.service_version.as_deref());
    put(Some(actor.kind.as_str()));
    put(Some(&actor.id));
    put(actor.session.as_deref());
    put(actor.tenant.as_deref());
    put(actor.on_behalf_of.as_deref());
    put(Some(record.outcome.as_str()));
    put(record.status.map(|status| made.text(status)));
    put(record.error_type.as_deref());
    put(record.reason.as_deref());
    put(record.request_id.as_deref());
    put(record.method.as_deref());
    put(record.route.as_deref());
    put(record.path.as_deref());
    put(record.client_address.as_deref());
    put(record.user_agent.as_deref());
    put(record.trace_id.as_deref());
    put(record.span_id.as_deref());
}

/// Hands over the columns of a transaction's records in the order of `postgres/insert_several.sql`:
/// arrays of their own ones, and the shared ones once.
pub(super) fn columns_of_several(records: &[AuditRecord], put: &mut dyn FnMut(Option<&str>)) {
    let mut arrays: [String; OWN] = Default::default();
    for record in records {
        let mut arrays = arrays.iter_mut();
        own(record, &mut |column| {
            let Some(array) = arrays.next() else { return };
            array.push(if array.is_empty() { '{' } else { ',' });
            match column {
                Some(text) => quote(text, array),
                None => array.push_str("NULL"),
            }
        });
    }
    for mut array in arrays {
        array.push('}');
        put(Some(&array));
    }
    if let Some(first) = records.first() {
        shared(first, put);
    }
}

/// The columns that `hand_over` hands over as the text of one Postgres row.
pub(super) fn row(hand_over: impl FnOnce(&mut dyn FnMut(Option<&str>))) -> String {
    let mut row = String::with_capacity(1024);
    hand_over(&mut |column| {
        row.push(if row.is_empty() { '(' } else { ',' });
        // Nothing at all is NULL.
        if let Some(text) = column {
            quote(text, &mut row);
        }
    });
    row.push(')');
    row
}

/// Adds `text` as Postgres reads it in a row or an array.
fn quote(text: &str, to: &mut String) {
    to.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            to.push('\\');
        }
        to.push(character);
    }
    to.push('"');
}

/// Where text is made, for as long as it is looked at.
struct Made(String);

impl Made {
    fn text(&mut self, value: impl Display) -> &str {
        self.0.clear();
        // A `String` takes whatever there is memory for.
        let _ = write!(self.0, "{value}");
        &self.0
    }

    /// Every key is a string and every value is JSON already, so this cannot fail.
    fn json(&mut self, value: &impl Serialize) -> &str {
        self.0 = serde_json::to_string(value).unwrap_or_default();
        &self.0
    }
}
