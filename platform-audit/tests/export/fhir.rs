//! AuditEvents, validated by a FHIR library.

use platform_audit::export::Format;
use platform_harness::readers;
use serde_json::Value;

use super::{each_kind, encoded};

#[test]
fn every_event_is_valid_fhir_with_its_actor_action_and_resource() {
    let records = each_kind();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.fhir.ndjson");
    std::fs::write(&path, encoded(Format::Fhir, &records)).unwrap();
    let found = readers::read("fhir", &path);
    let events = found.as_array().unwrap();
    assert_eq!(events.len(), records.len());
    let actions: Vec<_> = events.iter().map(|event| &event["action"]).collect();
    assert_eq!(actions, ["C", "U", "D", "E", "E"]);
    let outcomes: Vec<_> = events
        .iter()
        .map(|event| &event["outcome"]["code"]["code"])
        .collect();
    assert_eq!(outcomes, ["0", "0", "0", "4", "8"]);

    let first = &events[0];
    assert_eq!(first["id"], records[0].id.to_string());
    assert_eq!(first["code"]["text"], "entry.create");
    assert_eq!(first["agent"][0]["who"]["identifier"]["value"], "ada");
    assert_eq!(first["agent"][0]["networkString"], "10.0.0.1");
    assert_eq!(first["agent"][1]["who"]["identifier"]["value"], "grace");
    assert_eq!(first["authorization"][0]["text"], "because");
    assert_eq!(first["source"]["observer"]["display"], "ledger");
    assert_eq!(first["entity"][0]["what"]["identifier"]["value"], "=1+1");
    assert_eq!(
        detail(first, "changes.note").as_deref(),
        Some(r#"{"after":null}"#)
    );
    assert_eq!(
        detail(first, "trace_id").as_deref(),
        Some("0af7651916cd43dd8448eb211c80319c")
    );
    assert_eq!(detail(first, "actor_tenant").as_deref(), Some("clinic-7"));
    // FHIR strings are never blank and contain no control characters.
    let fourth = &events[3];
    assert_eq!(fourth.get("authorization"), None);
    assert_eq!(
        detail(fourth, "details.bell").as_deref(),
        Some("a\u{2407}b")
    );
    assert_eq!(detail(fourth, "details.list").as_deref(), Some("[null]"));
}

fn detail(event: &Value, name: &str) -> Option<String> {
    let entities = event["entity"].as_array()?.iter();
    let mut details = entities.flat_map(|entity| entity["detail"].as_array().into_iter().flatten());
    let found = details.find(|detail| detail["type"]["text"] == name)?;
    Some(found["valueString"].as_str()?.to_owned())
}
