//! Validates events against <https://schema.ocsf.io/1.6.0>: required attributes, groups of attributes
//! with at least one required, and known attributes.

use platform_audit::export::Format;
use serde_json::Value;

use super::{each_kind, encoded};

struct Rule {
    /// The class number, or a JSON pointer to an object.
    target: &'static str,
    required: &'static [&'static str],
    one_of: &'static [&'static str],
    known: &'static [&'static str],
}

const BASE: Rule = Rule {
    target: "",
    required: &[
        "activity_id",
        "category_uid",
        "class_uid",
        "metadata",
        "severity_id",
        "time",
        "type_uid",
    ],
    one_of: &[],
    known: &[
        "activity_name",
        "category_name",
        "class_name",
        "message",
        "severity",
        "status",
        "status_code",
        "status_detail",
        "status_id",
        "type_name",
        "unmapped",
    ],
};

const CLASSES: [Rule; 2] = [
    Rule {
        target: "6003",
        required: &["actor", "api", "src_endpoint"],
        one_of: &[],
        known: &["dst_endpoint", "http_request", "http_response", "resources"],
    },
    Rule {
        target: "3004",
        required: &["entity"],
        one_of: &[],
        known: &[
            "actor",
            "comment",
            "entity_result",
            "src_endpoint",
            "http_request",
        ],
    },
];

const OBJECTS: [Rule; 15] = [
    Rule {
        target: "/metadata",
        required: &["product", "version"],
        one_of: &[],
        known: &[
            "correlation_uid",
            "event_code",
            "log_name",
            "log_provider",
            "logged_time",
            "original_time",
            "tenant_uid",
            "uid",
        ],
    },
    Rule {
        target: "/metadata/product",
        required: &[],
        one_of: &["name", "uid"],
        known: &["vendor_name", "version"],
    },
    Rule {
        target: "/actor",
        required: &[],
        one_of: &[
            "process",
            "user",
            "invoked_by",
            "session",
            "app_name",
            "app_uid",
        ],
        known: &[],
    },
    Rule {
        target: "/actor/user",
        required: &[],
        one_of: &["account", "name", "uid"],
        known: &["type", "type_id"],
    },
    Rule {
        target: "/actor/session",
        required: &[],
        one_of: &[],
        known: &["uid"],
    },
    Rule {
        target: "/api",
        required: &["operation"],
        one_of: &[],
        known: &["request", "response", "service"],
    },
    Rule {
        target: "/api/request",
        required: &["uid"],
        one_of: &[],
        known: &[],
    },
    Rule {
        target: "/api/response",
        required: &[],
        one_of: &[],
        known: &["code", "error"],
    },
    Rule {
        target: "/api/service",
        required: &[],
        one_of: &["name", "uid"],
        known: &["version"],
    },
    Rule {
        target: "/http_request",
        required: &[],
        one_of: &[],
        known: &["http_method", "uid", "url", "user_agent"],
    },
    Rule {
        target: "/http_response",
        required: &["code"],
        one_of: &[],
        known: &[],
    },
    Rule {
        target: "/resources/0",
        required: &[],
        one_of: &["name", "uid"],
        known: &["data", "type"],
    },
    Rule {
        target: "/src_endpoint",
        required: &[],
        one_of: &["ip", "uid", "name", "hostname", "svc_name", "domain"],
        known: &[],
    },
    Rule {
        target: "/entity",
        required: &[],
        one_of: &["name", "uid"],
        known: &["data", "type", "type_id"],
    },
    Rule {
        target: "/entity_result",
        required: &[],
        one_of: &["name", "uid"],
        known: &["data", "type", "type_id"],
    },
];

impl Rule {
    /// Returns how the value violates the rule. Attributes of `wider` are also allowed.
    fn violation(&self, value: &Value, wider: Option<&Rule>) -> Option<String> {
        let Some(members) = value.as_object() else {
            return Some(format!("{} is not an object: {value}", self.target));
        };
        for name in self.required {
            if !members.contains_key(*name) {
                return Some(format!("{} lacks {name}", self.target));
            }
        }
        if !self.one_of.is_empty() && !self.one_of.iter().any(|it| members.contains_key(*it)) {
            return Some(format!("{} has none of {:?}", self.target, self.one_of));
        }
        let may = |rule: &Rule, name: &str| {
            [rule.required, rule.one_of, rule.known]
                .iter()
                .any(|all| all.contains(&name))
        };
        for (name, value) in members {
            if !may(self, name) && !wider.is_some_and(|rule| may(rule, name)) {
                return Some(format!("{} has the unknown attribute {name}", self.target));
            }
            if value.is_null() {
                return Some(format!("{}: {name} is null", self.target));
            }
        }
        None
    }
}

fn violation(event: &Value) -> Option<String> {
    let number = event["class_uid"].to_string();
    let Some(class) = CLASSES.iter().find(|class| class.target == number) else {
        return Some(format!("no class {number}"));
    };
    let missing = |name: &&&str| event.get(**name).is_none();
    if let Some(name) = BASE.required.iter().find(missing) {
        return Some(format!("lacks {name}"));
    }
    let numbers = [&event["activity_id"], &event["class_uid"]].map(Value::as_u64);
    let [Some(activity), Some(class_uid)] = numbers else {
        return Some("activity_id or class_uid is not a number".to_owned());
    };
    if event["type_uid"].as_u64() != Some(class_uid * 100 + activity) {
        return Some("type_uid does not match class and activity".to_owned());
    }
    if event["category_uid"].as_u64() != Some(class_uid / 1000) {
        return Some("category_uid does not match the class".to_owned());
    }
    if !matches!(activity, 0..=4 | 99) || (activity == 99 && event.get("activity_name").is_none()) {
        return Some("activity_id is unknown, or has no name".to_owned());
    }
    class.violation(event, Some(&BASE)).or_else(|| {
        OBJECTS
            .iter()
            .find_map(|rule| rule.violation(event.pointer(rule.target)?, None))
    })
}

fn events() -> Vec<Value> {
    let text = String::from_utf8(encoded(Format::Ocsf, &each_kind())).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_event_has_all_required_and_no_unknown_attributes() {
    let events = events();
    for event in &events {
        assert_eq!(violation(event), None, "{event:#}");
    }
    let types: Vec<_> = events.iter().map(|event| &event["type_uid"]).collect();
    assert_eq!(types, [600_301, 300_403, 600_304, 600_399, 600_399]);
    let first = &events[0];
    assert_eq!(first["time"], 1_795_453_200_123_i64);
    assert_eq!(first["actor"]["user"]["uid"], "ada");
    assert_eq!(first["src_endpoint"]["ip"], "10.0.0.1");
    assert_eq!(first["metadata"]["tenant_uid"], "clinic-7");
    assert_eq!(
        first["resources"][0]["data"]["note"],
        serde_json::json!({"after": null})
    );
    assert_eq!(first["unmapped"]["actor_on_behalf_of"], "grace");
    assert_eq!(first["status"], "Success");
    let second = &events[1];
    assert_eq!(second["entity"]["data"]["amount"], 5);
    assert_eq!(second["entity_result"]["data"]["amount"], 6);
    assert_eq!(second["comment"], "because");
    assert_eq!(events[2]["src_endpoint"]["name"], "gateway.internal");
    assert_eq!(events[3]["status_id"], 2);
    assert_eq!(events[3]["status_detail"], "denied");
}

#[test]
fn missing_and_unknown_attributes_are_detected() {
    for path in [
        "/metadata",
        "/actor",
        "/api/operation",
        "/metadata/version",
        "/src_endpoint/ip",
    ] {
        let mut event = events().remove(0);
        let (parent, name) = path.rsplit_once('/').unwrap();
        event
            .pointer_mut(parent)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .remove(name);
        assert!(violation(&event).is_some(), "{path}");
    }
    let mut event = events().remove(0);
    event["actor"]["nickname"] = "ada".into();
    assert!(violation(&event).is_some());
}
