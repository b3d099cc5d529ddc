use serde::Serialize;

use super::Argument;
use crate::record::AuditRecord;

/// Hands over the columns of `record` in the order of `postgres/insert_one.sql`.
pub(super) fn columns(record: &AuditRecord, put: &mut dyn FnMut(Argument<'_>)) {
    own(record, put);
    shared(record, put);
}

/// How many columns are a record's [own].
const OWN: usize = 7;

/// The columns that may differ between the records of a transaction.
fn own(record: &AuditRecord, put: &mut dyn FnMut(Argument<'_>)) {
    put(Argument::Uuid(record.id));
    put(record.action.as_str().into());
    put(Argument::Text(record.resource_type.as_deref()));
    put(Argument::Text(record.resource_id.as_deref()));
    put(Argument::Json(&json(&record.changes)));
    put(Argument::Json(&json(&record.details)));
    put(Argument::Json(&json(&record.cut)));
}

/// Those that are the same, as they are the request's or the work's.
fn shared(record: &AuditRecord, put: &mut dyn FnMut(Argument<'_>)) {
    let actor = &record.actor;
    put(Argument::Time(record.occurred_at));
    put(record.service.as_str().into());
    put(Argument::Text(record.service_version.as_deref()));
    put(actor.kind.as_str().into());
    put(actor.id.as_str().into());
    put(Argument::Text(actor.session.as_deref()));
    put(Argument::Text(actor.tenant.as_deref()));
    put(Argument::Text(actor.on_behalf_of.as_deref()));
    put(record.outcome.as_str().into());
    put(Argument::Status(record.status));
    put(Argument::Text(record.error_type.as_deref()));
    put(Argument::Text(record.reason.as_deref()));
    put(Argument::Text(record.request_id.as_deref()));
    put(Argument::Text(record.method.as_deref()));
    put(Argument::Text(record.route.as_deref()));
    put(Argument::Text(record.path.as_deref()));
    put(Argument::Text(record.client_address.as_deref()));
    put(Argument::Text(record.user_agent.as_deref()));
    put(Argument::Text(record.trace_id.as_deref()));
    put(Argument::Text(record.span_id.as_deref()));
}

/// Hands over the columns of a transaction's records in the order of `postgres/insert_several.sql`:
/// arrays of their own ones, and the shared ones once.
pub(super) fn columns_of_several(records: &[AuditRecord], put: &mut dyn FnMut(Argument<'_>)) {
    let mut arrays: [String; OWN] = Default::default();
    for record in records {
        let mut arrays = arrays.iter_mut();
        own(record, &mut |column| {
            let Some(array) = arrays.next() else { return };
            array.push(if array.is_empty() { '{' } else { ',' });
            match column.text() {
                Some(text) => quote(&text, array),
                None => array.push_str("NULL"),
            }
        });
    }
    for mut array in arrays {
        array.push('}');
        put(array.as_str().into());
    }
    if let Some(first) = records.first() {
        shared(first, put);
    }
}

/// Adds `text` as Postgres reads it in an array.
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

/// Every key is a string and every value is JSON already, so this cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
