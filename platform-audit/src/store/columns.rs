use serde::Serialize;

use super::Argument;
use crate::record::AuditRecord;

/// The columns in the order in which [`own`] and [`shared`] pass them.
const NAMES: [&str; 27] = [
    "id",
    "action",
    "resource_type",
    "resource_id",
    "changes",
    "details",
    "cut",
    "occurred_at",
    "service",
    "service_version",
    "actor_kind",
    "actor_id",
    "actor_session",
    "actor_tenant",
    "actor_on_behalf_of",
    "outcome",
    "status",
    "error_type",
    "reason",
    "request_id",
    "method",
    "route",
    "path",
    "client_address",
    "user_agent",
    "trace_id",
    "span_id",
];

/// Passes the columns of `record` that differ from their defaults, as `insert_one` numbers them.
pub(super) fn columns(record: &AuditRecord, put: &mut dyn FnMut(Argument<'_>)) {
    given(record, &mut |_, argument| put(argument));
}

/// Fills `postgres/insert_one.sql` in for the columns of `record` that differ from their defaults.
/// A service's records leave out the same few columns, so it has a handful of such statements.
pub(super) fn insert_one(template: &str, record: &AuditRecord) -> String {
    let (mut names, mut arguments) = (String::new(), String::new());
    let mut at = 0;
    given(record, &mut |name, argument| {
        at += 1;
        // The template contains the id, which comes first and is always given.
        if at == 1 {
            return;
        }
        let cast = match argument {
            Argument::Json(_) => "::pg_catalog.jsonb",
            Argument::Time(_) => "::pg_catalog.timestamptz",
            Argument::Status(_) => "::smallint",
            Argument::Uuid(_) => "::pg_catalog.uuid",
            Argument::Text(_) => "",
        };
        names.push_str(", ");
        names.push_str(name);
        arguments.push_str(&format!(", ${at}{cast}"));
    });
    template
        .replace("{mark}", &format!("${}", at + 1))
        .replace("{columns}", &names)
        .replace("{arguments}", &arguments)
}

/// Passes the columns of `record` that differ from their defaults, with their names.
fn given(record: &AuditRecord, put: &mut dyn FnMut(&'static str, Argument<'_>)) {
    let mut names = NAMES.into_iter();
    let mut put = |argument: Argument<'_>| {
        let Some(name) = names.next() else { return };
        let is_default = match argument {
            Argument::Text(None) | Argument::Status(None) => true,
            Argument::Json(json) => json == "{}" || json == "[]",
            _ => false,
        };
        if !is_default {
            put(name, argument);
        }
    };
    own(record, &mut put);
    shared(record, &mut put);
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
