//! Records as FHIR R5 AuditEvent resources, <https://hl7.org/fhir/R5/auditevent.html>.

use serde_json::{Map, Value, json};

use super::activity::Activity;
use super::sparse::without_empty;
use crate::record::{Actor, ActorKind, AuditRecord, Outcome};

/// The AuditEvent of a record. Attributes without a FHIR element become details of its entities.
pub(super) fn audit_event(record: &AuditRecord) -> Value {
    let (action, interaction) = match Activity::from_record(record) {
        Activity::Create => ("C", Some("create")),
        Activity::Read => ("R", Some("read")),
        Activity::Update => ("U", Some("update")),
        Activity::Delete => ("D", Some("delete")),
        Activity::Other => ("E", None),
    };
    let code = interaction.map(|interaction| {
        json!([{"system": "http://hl7.org/fhir/restful-interaction", "code": interaction}])
    });
    let entities = [
        resource_entity(record),
        request_entity(record),
        Some(record_entity(record)),
    ];
    let entities: Vec<_> = entities.into_iter().flatten().collect();
    Value::Object(without_empty(json!({
        "resourceType": "AuditEvent",
        "id": record.id,
        "category": [{"coding": [{
            "system": "http://dicom.nema.org/resources/ontology/DCM",
            "code": "110100",
            "display": "Application Activity",
        }]}],
        "code": without_empty(json!({"coding": code, "text": record.action})),
        "action": action,
        "occurredDateTime": record.occurred_at,
        "recorded": record.recorded_at.unwrap_or(record.occurred_at),
        "outcome": outcome(record),
        "authorization": concept(record.reason.as_deref()).map(|reason| vec![reason]),
        "agent": agents(record),
        "source": {
            "observer": {"identifier": {"value": record.service}, "display": record.service},
            "type": [{"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/security-source-type",
                "code": "4",
                "display": "Application Server",
            }]}],
        },
        "entity": entities,
    })))
}

fn outcome(record: &AuditRecord) -> Map<String, Value> {
    let (code, display) = match record.outcome {
        Outcome::Success => ("0", "Success"),
        Outcome::Denied | Outcome::Invalid => ("4", "Minor failure"),
        Outcome::Failed | Outcome::Panicked | Outcome::TimedOut => ("8", "Serious failure"),
    };
    let details: Vec<Value> = [Some(record.outcome.as_str()), record.error_type.as_deref()]
        .into_iter()
        .filter_map(concept)
        .collect();
    without_empty(json!({
        "code": {
            "system": "http://terminology.hl7.org/CodeSystem/audit-event-outcome",
            "code": code,
            "display": display,
        },
        "detail": details,
    }))
}

fn agents(record: &AuditRecord) -> Vec<Map<String, Value>> {
    let Actor {
        kind,
        id,
        on_behalf_of,
        ..
    } = &record.actor;
    let kind = match kind {
        ActorKind::User => "user",
        ActorKind::Service => "service",
        ActorKind::System => "system",
        ActorKind::Anonymous => "anonymous",
    };
    let acting = without_empty(json!({
        "type": {"text": kind},
        "who": who(id),
        "requestor": true,
        "networkString": record.client_address.as_deref().and_then(fhir_string),
    }));
    let principal = on_behalf_of.as_deref().map(|id| {
        without_empty(json!({"type": {"text": "on behalf of"}, "who": who(id), "requestor": false}))
    });
    [Some(acting), principal].into_iter().flatten().collect()
}

fn who(id: &str) -> Value {
    match fhir_string(id) {
        Some(id) => json!({"identifier": {"value": id}}),
        None => json!({"display": "unknown"}),
    }
}

/// The resource acted on, with its changes.
fn resource_entity(record: &AuditRecord) -> Option<Map<String, Value>> {
    let kind = record.resource_type.as_deref().and_then(fhir_string)?;
    let id = record.resource_id.as_deref().and_then(fhir_string);
    let changes = record.changes.iter().map(|(field, change)| {
        let change = serde_json::to_value(change).unwrap_or_default();
        (format!("changes.{field}"), change)
    });
    let identifier = without_empty(json!({"type": {"text": kind}, "value": id}));
    Some(entity(
        json!({"identifier": identifier, "display": kind}),
        changes,
    ))
}

/// The HTTP request, if there was one.
fn request_entity(record: &AuditRecord) -> Option<Map<String, Value>> {
    record.method.as_ref()?;
    let facts = json!({
        "method": record.method, "route": record.route, "path": record.path, "status": record.status,
        "user_agent": record.user_agent, "trace_id": record.trace_id, "span_id": record.span_id,
    });
    let id = record.request_id.as_deref().and_then(fhir_string);
    let identifier = id.map(|id| json!({"type": {"text": "request"}, "value": id}));
    let what = without_empty(json!({"identifier": identifier, "display": "request"}));
    Some(entity(Value::Object(what), without_empty(facts)))
}

/// The record itself, with its remaining attributes.
fn record_entity(record: &AuditRecord) -> Map<String, Value> {
    let details = record.details.iter();
    let details = details.map(|(name, value)| (format!("details.{name}"), value.clone()));
    let facts = json!({
        "service_version": record.service_version,
        "actor_session": record.actor.session,
        "actor_tenant": record.actor.tenant,
        "xid": record.xid,
        "cut": record.cut,
    });
    let what = json!({
        "identifier": {"type": {"text": "audit record"}, "value": record.id},
        "display": "audit record",
    });
    entity(what, details.chain(without_empty(facts)))
}

/// An entity. String details are written as they are, other values as JSON.
fn entity(what: Value, details: impl IntoIterator<Item = (String, Value)>) -> Map<String, Value> {
    let details = details.into_iter().filter_map(|(name, value)| {
        let value = match value {
            Value::String(value) => fhir_string(&value),
            other => fhir_string(&other.to_string()),
        }?;
        Some(json!({"type": concept(Some(&name))?, "valueString": value}))
    });
    without_empty(json!({"what": what, "detail": details.collect::<Vec<_>>()}))
}

fn concept(value: Option<&str>) -> Option<Value> {
    Some(json!({"text": fhir_string(value?)?}))
}

/// Converts text to a FHIR string, which must not be blank or contain control characters other than
/// tab and line breaks. Others become their control pictures (from `U+2400`).
fn fhir_string(value: &str) -> Option<String> {
    let printable = |it: char| match it {
        '\t' | '\n' | '\r' => it,
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(it)).unwrap_or('\u{fffd}'),
        _ => it,
    };
    (!value.trim().is_empty()).then(|| value.chars().map(printable).collect())
}
