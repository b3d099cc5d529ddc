//! Records as events of the Open Cybersecurity Schema Framework, <https://schema.ocsf.io/1.6.0>.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::activity::Activity;
use super::sparse::without_empty;
use crate::record::{ActorKind, AuditRecord, Outcome};

/// The OCSF version.
const VERSION: &str = "1.6.0";

/// The event of a record: API Activity (6003) for records of a request or without a resource,
/// otherwise Entity Management (3004). Attributes that the class does not have go into `unmapped`
/// under their own names.
pub(super) fn event(record: &AuditRecord) -> Value {
    let entity = record
        .resource_type
        .as_ref()
        .filter(|_| record.method.is_none());
    let mut event = base_event(record, entity.is_some());
    event.extend(match entity {
        Some(kind) => entity_management(record, kind),
        None => api_activity(record),
    });
    Value::Object(event)
}

fn base_event(record: &AuditRecord, is_entity: bool) -> Map<String, Value> {
    let (category, category_name, class, class_name) = if is_entity {
        (3, "Identity & Access Management", 3004, "Entity Management")
    } else {
        (6, "Application Activity", 6003, "API Activity")
    };
    let verb = record.action.rsplit('.').next().unwrap_or_default();
    let (activity, activity_name) = match Activity::from_record(record) {
        Activity::Create => (1, "Create"),
        Activity::Read => (2, "Read"),
        Activity::Update => (3, "Update"),
        Activity::Delete => (4, "Delete"),
        Activity::Other => (99, verb),
    };
    let (status, status_name) = match record.outcome {
        Outcome::Success => (1, "Success"),
        _ => (2, "Failure"),
    };
    let correlation = record.trace_id.as_ref().or(record.request_id.as_ref());
    without_empty(json!({
        "activity_id": activity,
        "activity_name": activity_name,
        "actor": actor(record),
        "category_uid": category,
        "category_name": category_name,
        "class_uid": class,
        "class_name": class_name,
        "message": message(record),
        "metadata": without_empty(json!({
            "version": VERSION,
            "product": {
                "name": "platform-audit",
                "vendor_name": "platform-audit",
                "version": env!("CARGO_PKG_VERSION"),
            },
            "uid": record.id,
            "event_code": record.action,
            "log_name": "audit",
            "log_provider": record.service,
            "logged_time": record.recorded_at.map(jiff::Timestamp::as_millisecond),
            "original_time": record.occurred_at,
            "correlation_uid": correlation,
            "tenant_uid": record.actor.tenant,
        })),
        "severity_id": 1,
        "severity": "Informational",
        "status_id": status,
        "status": status_name,
        "status_code": record.status.map(|status| status.to_string()),
        "status_detail": (record.outcome != Outcome::Success).then(|| record.outcome.as_str()),
        "time": record.occurred_at.as_millisecond(),
        "type_uid": class * 100 + activity,
        "type_name": format!("{class_name}: {activity_name}"),
        "unmapped": without_empty(json!({
            "xid": record.xid,
            "actor_on_behalf_of": record.actor.on_behalf_of,
            "outcome": record.outcome,
            "error_type": record.error_type,
            "reason": record.reason,
            "route": record.route,
            "trace_id": record.trace_id,
            "span_id": record.span_id,
            "details": record.details,
            "cut": record.cut,
        })),
    }))
}

fn api_activity(record: &AuditRecord) -> Map<String, Value> {
    let request = record.method.as_ref().map(|method| {
        without_empty(json!({
            "http_method": method,
            "url": without_empty(json!({"path": record.path})),
            "user_agent": record.user_agent,
            "uid": record.request_id,
        }))
    });
    let resource = record.resource_type.as_ref().map(|kind| {
        let name = record.resource_id.is_none().then_some(kind);
        let resource =
            json!({"type": kind, "uid": record.resource_id, "name": name, "data": record.changes});
        [without_empty(resource)]
    });
    without_empty(json!({
        "api": without_empty(json!({
            "operation": record.action,
            "service": without_empty(json!({"name": record.service, "version": record.service_version})),
            "request": record.request_id.as_ref().map(|id| json!({"uid": id})),
            "response": record.status.map(|status| without_empty(json!({"code": status, "error": record.error_type}))),
        })),
        "http_request": request,
        "http_response": record.status.map(|status| json!({"code": status})),
        "resources": resource,
        "src_endpoint": endpoint(record).unwrap_or_else(|| json!({"name": "unknown"})),
    }))
}

fn entity_management(record: &AuditRecord, kind: &str) -> Map<String, Value> {
    let entity = |data: Map<String, Value>| {
        let name = record.resource_id.is_none().then_some(kind);
        without_empty(
            json!({"type": kind, "type_id": 99, "uid": record.resource_id, "name": name, "data": data}),
        )
    };
    let side = |is_before: bool| {
        let values = record.changes.iter().filter_map(|(field, change)| {
            let value = if is_before {
                &change.before
            } else {
                &change.after
            };
            Some((field.clone(), value.clone()?))
        });
        values.collect::<Map<_, _>>()
    };
    let after = side(false);
    without_empty(json!({
        "comment": record.reason,
        "entity": entity(side(true)),
        "entity_result": (!after.is_empty()).then(|| entity(after)),
        "src_endpoint": endpoint(record),
    }))
}

fn actor(record: &AuditRecord) -> Map<String, Value> {
    let (type_id, kind) = match record.actor.kind {
        ActorKind::User => (1, "User"),
        ActorKind::System => (3, "System"),
        ActorKind::Service => (4, "Service"),
        ActorKind::Anonymous => (0, "Unknown"),
    };
    let session = record.actor.session.as_ref();
    without_empty(json!({
        "user": {"uid": record.actor.id, "type_id": type_id, "type": kind},
        "session": session.map(|session| json!({"uid": session})),
    }))
}

fn endpoint(record: &AuditRecord) -> Option<Value> {
    let address = record.client_address.as_ref()?;
    let is_ip = address.parse::<IpAddr>().is_ok();
    Some(json!({ (if is_ip { "ip" } else { "name" }): address }))
}

fn message(record: &AuditRecord) -> String {
    let mut message = format!("{} {}", record.actor.id, record.action);
    for part in [&record.resource_type, &record.resource_id]
        .into_iter()
        .flatten()
    {
        message.push(' ');
        message.push_str(part);
    }
    message.push_str(": ");
    message.push_str(record.outcome.as_str());
    message
}
