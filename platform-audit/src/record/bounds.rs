//! How long each field may be, and what becomes of one that is longer.

use serde_json::{Map, Value};

use super::AuditRecord;

/// The largest size of a text field, in bytes of UTF-8.
pub(crate) struct Limit;

impl Limit {
    pub(crate) const SERVICE_VERSION: usize = 100;
    pub(crate) const ACTOR: usize = 256;
    pub(crate) const RESOURCE_TYPE: usize = 100;
    pub(crate) const RESOURCE_ID: usize = 256;
    pub(crate) const ERROR_TYPE: usize = 100;
    pub(crate) const REASON: usize = 1024;
    pub(crate) const REQUEST_ID: usize = 128;
    pub(crate) const METHOD: usize = 32;
    pub(crate) const ROUTE: usize = 512;
    pub(crate) const PATH: usize = 1024;
    pub(crate) const CLIENT_ADDRESS: usize = 64;
    pub(crate) const USER_AGENT: usize = 512;
    /// One string inside `changes` or `details`.
    const VALUE: usize = 4 * 1024;
    /// All of `changes`.
    const CHANGES: usize = 64 * 1024;
    /// All of `details`.
    const DETAILS: usize = 16 * 1024;
    /// Arrays and objects inside `changes` or `details` that are nested deeper are left out.
    const DEPTH: usize = 16;
}

/// What stands in for a value that was left out.
const CUT: &str = "[cut]";

/// Cuts what is too long, takes out what the database cannot store, and lists both in `cut`.
pub(crate) fn bound_record(record: &mut AuditRecord) {
    let mut cut = std::mem::take(&mut record.cut);
    let actor = &mut record.actor;
    let texts: [(&str, Option<&mut String>, usize); 15] = [
        (
            "service_version",
            record.service_version.as_mut(),
            Limit::SERVICE_VERSION,
        ),
        ("actor_id", Some(&mut actor.id), Limit::ACTOR),
        ("actor_session", actor.session.as_mut(), Limit::ACTOR),
        ("actor_tenant", actor.tenant.as_mut(), Limit::ACTOR),
        (
            "actor_on_behalf_of",
            actor.on_behalf_of.as_mut(),
            Limit::ACTOR,
        ),
        (
            "resource_type",
            record.resource_type.as_mut(),
            Limit::RESOURCE_TYPE,
        ),
        (
            "resource_id",
            record.resource_id.as_mut(),
            Limit::RESOURCE_ID,
        ),
        ("error_type", record.error_type.as_mut(), Limit::ERROR_TYPE),
        ("reason", record.reason.as_mut(), Limit::REASON),
        ("request_id", record.request_id.as_mut(), Limit::REQUEST_ID),
        ("method", record.method.as_mut(), Limit::METHOD),
        ("route", record.route.as_mut(), Limit::ROUTE),
        ("path", record.path.as_mut(), Limit::PATH),
        (
            "client_address",
            record.client_address.as_mut(),
            Limit::CLIENT_ADDRESS,
        ),
        ("user_agent", record.user_agent.as_mut(), Limit::USER_AGENT),
    ];
    for (name, text, limit) in texts {
        if text.is_some_and(|text| bound_text(text, limit)) {
            cut.push(name.to_owned());
        }
    }

    let mut left = Limit::CHANGES;
    let changes = std::mem::take(&mut record.changes);
    for (mut name, mut change) in changes {
        if left == 0 {
            cut.push("changes".to_owned());
            break;
        }
        let mut was_cut = bound_text(&mut name, Limit::RESOURCE_TYPE);
        left = left.saturating_sub(named(&name) + 2);
        for side in [&mut change.before, &mut change.after]
            .into_iter()
            .flatten()
        {
            left = left.saturating_sub(named("before"));
            was_cut |= bound_value(side, &mut left);
        }
        if was_cut {
            cut.push(format!("changes.{name}"));
        }
        record.changes.insert(name, change);
    }

    let mut left = Limit::DETAILS;
    let details = std::mem::take(&mut record.details);
    for (mut name, mut value) in details {
        if left == 0 {
            record.details.insert(CUT.to_owned(), Value::from(true));
            cut.push("details".to_owned());
            break;
        }
        let was_cut = bound_text(&mut name, Limit::RESOURCE_TYPE);
        left = left.saturating_sub(named(&name));
        if bound_value(&mut value, &mut left) | was_cut {
            cut.push(format!("details.{name}"));
        }
        record.details.insert(name, value);
    }
    record.cut = cut;
}

/// Cuts `text` to `limit` bytes at a character boundary; true if it changed. NUL, which
/// Postgres cannot store, becomes U+FFFD.
fn bound_text(text: &mut String, limit: usize) -> bool {
    let mut changed = false;
    if text.contains('\0') {
        *text = text.replace('\0', "\u{fffd}");
        changed = true;
    }
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        changed = true;
    }
    changed
}

/// How long `text` is inside of JSON.
fn written(text: &str) -> usize {
    text.bytes().map(in_json).sum()
}

/// How many bytes of JSON one of a text takes, at most.
fn in_json(byte: u8) -> usize {
    match byte {
        0..0x20 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    }
}

/// How long a number is at most once Postgres has stored it, which writes 1e300 in full.
fn digits(number: &str) -> usize {
    let exponent = number
        .split_once('e')
        .and_then(|(_, exponent)| exponent.parse::<i32>().ok());
    number.len() + exponent.map_or(0, |exponent| exponent.unsigned_abs() as usize)
}

/// How long a member's name is, with its quotes and its colon, and the comma before it.
fn named(name: &str) -> usize {
    written(name) + 4
}

/// Cuts `value` to what is left of a budget in bytes of JSON, but for what says that something was
/// cut; true if it changed.
fn bound_value(value: &mut Value, left: &mut usize) -> bool {
    bound_nested(value, left, Limit::DEPTH)
}

fn bound_nested(value: &mut Value, left: &mut usize, depth: usize) -> bool {
    if *left == 0 {
        *value = Value::from(CUT);
        return true;
    }
    let before = *left;
    match value {
        Value::Null | Value::Bool(_) => {
            *left = before.saturating_sub(5);
            false
        }
        Value::Number(number) => {
            *left = before.saturating_sub(digits(&number.to_string()));
            false
        }
        Value::String(text) => {
            let mut changed = bound_text(text, Limit::VALUE.min(before));
            let mut room = before.saturating_sub(2);
            let end = text.bytes().position(|byte| {
                let taken = in_json(byte);
                let fits = taken <= room;
                room = room.saturating_sub(taken);
                !fits
            });
            if let Some(end) = end {
                text.truncate(text.floor_char_boundary(end));
                changed = true;
            }
            *left = if end.is_some() { 0 } else { room };
            changed
        }
        Value::Array(_) | Value::Object(_) if depth == 0 => {
            *value = Value::from(CUT);
            *left = before.saturating_sub(CUT.len() + 2);
            true
        }
        Value::Array(items) => {
            *left = before.saturating_sub(2);
            let mut changed = false;
            let mut kept = 0;
            for item in items.iter_mut() {
                if *left == 0 {
                    break;
                }
                *left -= 1;
                changed |= bound_nested(item, left, depth - 1);
                kept += 1;
            }
            if kept < items.len() {
                items.truncate(kept);
                items.push(Value::from(CUT));
                changed = true;
            }
            changed
        }
        Value::Object(members) => {
            *left = before.saturating_sub(2);
            let mut changed = false;
            let mut kept = Map::new();
            for (mut name, mut member) in std::mem::take(members) {
                if *left == 0 {
                    kept.insert(CUT.to_owned(), Value::from(true));
                    changed = true;
                    break;
                }
                changed |= bound_text(&mut name, Limit::RESOURCE_TYPE);
                *left = left.saturating_sub(named(&name));
                changed |= bound_nested(&mut member, left, depth - 1);
                kept.insert(name, member);
            }
            *members = kept;
            changed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{bound_record, bound_text, bound_value};
    use crate::record::AuditRecord;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn text_is_cut_at_a_character_and_nul_is_replaced() {
        let mut text = "aé\0z".to_owned();
        assert!(bound_text(&mut text, 2));
        assert_eq!(text, "a");
        let mut short = "ok".to_owned();
        assert!(!bound_text(&mut short, 2));
    }

    #[test]
    fn a_deep_or_wide_value_is_cut_and_says_so() {
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!([deep]);
        }
        assert!(bound_value(&mut deep, &mut 1000));
        let mut wide = Value::from((0..10_000).collect::<Vec<_>>());
        assert!(bound_value(&mut wide, &mut 800));
        assert_eq!(wide.as_array().unwrap().last().unwrap(), "[cut]");
        assert!((790..820).contains(&wide.to_string().len()), "{wide}");
        for nothing in [json!([]), json!({})] {
            let mut wide = Value::from(vec![nothing; 10_000]);
            assert!(bound_value(&mut wide, &mut 800));
            assert!(wide.to_string().len() < 820, "{wide}");
        }
    }

    #[test]
    fn a_number_counts_as_long_as_postgres_writes_it() {
        let mut large = Value::from(vec![1e300; 10_000]);
        assert!(bound_value(&mut large, &mut 3000));
        assert!(large.as_array().unwrap().len() <= 11, "{large}");
    }

    #[test]
    fn many_changes_are_cut_and_say_so_once() {
        let mut record: AuditRecord = serde_json::from_value(json!({
            "id": uuid::Uuid::nil(), "occurred_at": "2026-11-28T00:00:00Z", "service": "ledger",
            "actor_kind": "user", "actor_id": "ada", "action": "entry.create", "outcome": "success",
            "changes": {}, "details": {}, "cut": [],
        }))
        .unwrap();
        for n in 0..20_000 {
            let change = serde_json::from_value(json!({"after": n})).unwrap();
            record.changes.insert(format!("name-{n}"), change);
        }
        bound_record(&mut record);
        let written = serde_json::to_string(&record.changes).unwrap();
        assert!(written.len() < 66_000, "{}", written.len());
        assert_eq!(record.cut, ["changes"]);
    }

    #[test]
    fn many_details_are_cut_and_say_so_once() {
        let mut record: AuditRecord = serde_json::from_value(json!({
            "id": uuid::Uuid::nil(), "occurred_at": "2026-11-28T00:00:00Z", "service": "ledger",
            "actor_kind": "user", "actor_id": "ada", "action": "entry.create", "outcome": "success",
            "changes": {}, "details": {}, "cut": [],
        }))
        .unwrap();
        for n in 0..100_000 {
            record.details.insert(format!("name-{n}"), Value::Null);
        }
        bound_record(&mut record);
        let written = serde_json::to_string(&record).unwrap();
        assert!(
            (15_900..17_000).contains(&written.len()),
            "{}",
            written.len()
        );
        assert_eq!(record.details["[cut]"], true);
        assert_eq!(record.cut.last().unwrap(), "details");
        assert!(record.cut.len() <= 2, "{:?}", record.cut);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,40}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 200, 12, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..12).prop_map(Value::from),
                prop::collection::btree_map(".{0,12}", inner, 0..12)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_bounded_value_is_stable_and_close_to_its_budget(mut value in any_json(), budget in 1usize..2000) {
            let before = value.clone();
            let changed = bound_value(&mut value, &mut budget.clone());
            prop_assert_eq!(changed, before != value);
            prop_assert!(!value.to_string().contains("\\u0000"));
            // What says that something was cut, once at each level, comes on top.
            let length = value.to_string().len();
            prop_assert!(length <= budget + 24 * 8, "{length} of {budget}: {value}");
        }
    }
}
