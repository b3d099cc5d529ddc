use serde::Serialize;

use crate::record::AuditRecord;

/// The columns of `record` in the order of `postgres/insert_one.sql`, as text.
pub(super) fn columns(record: &AuditRecord) -> Vec<Option<String>> {
    let actor = &record.actor;
    let text = |text: &str| Some(text.to_owned());
    vec![
        Some(record.id.to_string()),
        Some(record.occurred_at.to_string()),
        text(&record.service),
        record.service_version.clone(),
        text(actor.kind.as_str()),
        text(&actor.id),
        actor.session.clone(),
        actor.tenant.clone(),
        actor.on_behalf_of.clone(),
        text(&record.action),
        record.resource_type.clone(),
        record.resource_id.clone(),
        text(record.outcome.as_str()),
        record.status.map(|status| status.to_string()),
        record.error_type.clone(),
        record.reason.clone(),
        record.request_id.clone(),
        record.method.clone(),
        record.route.clone(),
        record.path.clone(),
        record.client_address.clone(),
        record.user_agent.clone(),
        record.trace_id.clone(),
        record.span_id.clone(),
        Some(json(&record.changes)),
        Some(json(&record.details)),
        Some(json(&record.cut)),
    ]
}

/// The [columns] as the text of one Postgres row, for `write_sealed()`.
pub(super) fn row(record: &AuditRecord) -> String {
    let mut row = String::with_capacity(1024);
    for column in columns(record) {
        row.push(if row.is_empty() { '(' } else { ',' });
        // Nothing at all is NULL.
        let Some(text) = column else { continue };
        row.push('"');
        for character in text.chars() {
            if matches!(character, '"' | '\\') {
                row.push(character);
            }
            row.push(character);
        }
        row.push('"');
    }
    row.push(')');
    row
}

/// Every key is a string and every value is JSON already, so this cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
