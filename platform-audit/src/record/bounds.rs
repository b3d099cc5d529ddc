//! The size limits of a record's fields, and the truncation of longer values.

use serde_json::{Map, Value};

use super::{AuditRecord, COLUMNS};

/// The maximum sizes inside `changes` and `details`, in bytes of UTF-8 or of JSON. Those of texts
/// are in [`COLUMNS`].
struct Limit;

impl Limit {
    /// The name of a field or a detail.
    const NAME: usize = 100;
    /// One string inside `changes` or `details`.
    const STRING: usize = 4 * 1024;
    /// All of `changes`, as JSON.
    const CHANGES: usize = 64 * 1024;
    /// All of `details`, as JSON.
    const DETAILS: usize = 16 * 1024;
    /// The nesting depth of `changes` or `details`; deeper arrays and objects are removed.
    const DEPTH: usize = 16;
}

/// Replaces a value that was removed.
const TRUNCATED: &str = "[cut]";

/// Truncates values over their limit, replaces characters that the database cannot store, and lists
/// the affected fields in `cut`.
pub(crate) fn bound_record(record: &mut AuditRecord) {
    let mut cut = std::mem::take(&mut record.cut);
    for column in &COLUMNS {
        let Some(limit) = column.limit else { continue };
        if (column.text)(record).is_some_and(|text| bound_text(text, limit)) {
            cut.push(column.name.to_owned());
        }
    }

    let mut budget = Limit::CHANGES;
    let changes = std::mem::take(&mut record.changes);
    for (mut name, mut change) in changes {
        if budget == 0 {
            cut.push("changes".to_owned());
            break;
        }
        let mut changed = bound_text(&mut name, Limit::NAME);
        budget = budget.saturating_sub(member_name_len(&name) + 2);
        for side in [&mut change.before, &mut change.after]
            .into_iter()
            .flatten()
        {
            budget = budget.saturating_sub(member_name_len("before"));
            changed |= bound_value(side, &mut budget);
        }
        if changed {
            cut.push(format!("changes.{name}"));
        }
        record.changes.insert(name, change);
    }

    let mut budget = Limit::DETAILS;
    let details = std::mem::take(&mut record.details);
    for (mut name, mut value) in details {
        if budget == 0 {
            record
                .details
                .insert(TRUNCATED.to_owned(), Value::from(true));
            cut.push("details".to_owned());
            break;
        }
        let renamed = bound_text(&mut name, Limit::NAME);
        budget = budget.saturating_sub(member_name_len(&name));
        if bound_value(&mut value, &mut budget) | renamed {
            cut.push(format!("details.{name}"));
        }
        record.details.insert(name, value);
    }
    record.cut = cut;
}

/// Truncates `text` to `limit` bytes at a character boundary, and replaces NUL, which Postgres
/// cannot store, with U+FFFD. Returns whether `text` changed.
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

/// The maximum length of `text` in a JSON string, without its quotes.
fn escaped_len(text: &str) -> usize {
    text.bytes().map(escaped_byte_len).sum()
}

/// The maximum length of one byte of text in a JSON string.
fn escaped_byte_len(byte: u8) -> usize {
    match byte {
        0..0x20 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    }
}

/// The maximum length of a number once Postgres has stored it: `jsonb` writes 1e300 with all its
/// digits.
fn stored_number_len(number: &str) -> usize {
    let exponent = number
        .split_once('e')
        .and_then(|(_, exponent)| exponent.parse::<i32>().ok());
    number.len() + exponent.map_or(0, |exponent| exponent.unsigned_abs() as usize)
}

/// The length of an object member's name with its quotes, its colon, and the preceding comma.
fn member_name_len(name: &str) -> usize {
    escaped_len(name) + 4
}

/// Truncates `value` to the remaining `budget` in bytes of JSON, and subtracts its size from it.
/// The truncation markers are not counted. Returns whether `value` changed.
fn bound_value(value: &mut Value, budget: &mut usize) -> bool {
    bound_nested(value, budget, Limit::DEPTH)
}

fn bound_nested(value: &mut Value, budget: &mut usize, depth: usize) -> bool {
    if *budget == 0 {
        *value = Value::from(TRUNCATED);
        return true;
    }
    let before = *budget;
    match value {
        Value::Null | Value::Bool(_) => {
            *budget = before.saturating_sub(5);
            false
        }
        Value::Number(number) => {
            *budget = before.saturating_sub(stored_number_len(&number.to_string()));
            false
        }
        Value::String(text) => {
            let mut changed = bound_text(text, Limit::STRING.min(before));
            let mut room = before.saturating_sub(2);
            let end = text.bytes().position(|byte| {
                let taken = escaped_byte_len(byte);
                let fits = taken <= room;
                room = room.saturating_sub(taken);
                !fits
            });
            if let Some(end) = end {
                text.truncate(text.floor_char_boundary(end));
                changed = true;
            }
            *budget = if end.is_some() { 0 } else { room };
            changed
        }
        Value::Array(_) | Value::Object(_) if depth == 0 => {
            *value = Value::from(TRUNCATED);
            *budget = before.saturating_sub(TRUNCATED.len() + 2);
            true
        }
        Value::Array(items) => {
            *budget = before.saturating_sub(2);
            let mut changed = false;
            let mut kept = 0;
            for item in items.iter_mut() {
                if *budget == 0 {
                    break;
                }
                *budget -= 1;
                changed |= bound_nested(item, budget, depth - 1);
                kept += 1;
            }
            if kept < items.len() {
                items.truncate(kept);
                items.push(Value::from(TRUNCATED));
                changed = true;
            }
            changed
        }
        Value::Object(members) => {
            *budget = before.saturating_sub(2);
            let mut changed = false;
            let mut kept = Map::new();
            for (mut name, mut member) in std::mem::take(members) {
                if *budget == 0 {
                    kept.insert(TRUNCATED.to_owned(), Value::from(true));
                    changed = true;
                    break;
                }
                changed |= bound_text(&mut name, Limit::NAME);
                *budget = budget.saturating_sub(member_name_len(&name));
                changed |= bound_nested(&mut member, budget, depth - 1);
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
    fn text_is_truncated_at_a_character_boundary_and_nul_is_replaced() {
        let mut text = "aé\0z".to_owned();
        assert!(bound_text(&mut text, 2));
        assert_eq!(text, "a");
        let mut short = "ok".to_owned();
        assert!(!bound_text(&mut short, 2));
    }

    #[test]
    fn truncation_of_a_deep_or_wide_value_is_reported() {
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!([deep]);
        }
        assert!(bound_value(&mut deep, &mut 1000));
        let mut wide = Value::from((0..10_000).collect::<Vec<_>>());
        assert!(bound_value(&mut wide, &mut 800));
        assert_eq!(wide.as_array().unwrap().last().unwrap(), "[cut]");
        assert!((790..820).contains(&wide.to_string().len()), "{wide}");
        for empty in [json!([]), json!({})] {
            let mut wide = Value::from(vec![empty; 10_000]);
            assert!(bound_value(&mut wide, &mut 800));
            assert!(wide.to_string().len() < 820, "{wide}");
        }
    }

    #[test]
    fn a_number_is_counted_with_the_length_that_postgres_stores() {
        let mut large = Value::from(vec![1e300; 10_000]);
        assert!(bound_value(&mut large, &mut 3000));
        assert!(large.as_array().unwrap().len() <= 11, "{large}");
    }

    #[test]
    fn truncation_of_many_changes_is_reported_once() {
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
        let serialized = serde_json::to_string(&record.changes).unwrap();
        assert!(serialized.len() < 66_000, "{}", serialized.len());
        assert_eq!(record.cut, ["changes"]);
    }

    #[test]
    fn truncation_of_many_details_is_reported_once() {
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
        let serialized = serde_json::to_string(&record).unwrap();
        assert!(
            (15_900..17_000).contains(&serialized.len()),
            "{}",
            serialized.len()
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
        fn a_truncated_value_stays_close_to_its_budget(mut value in any_json(), budget in 1usize..2000) {
            let before = value.clone();
            let changed = bound_value(&mut value, &mut budget.clone());
            prop_assert_eq!(changed, before != value);
            prop_assert!(!value.to_string().contains("\\u0000"));
            // One truncation marker per level is not counted.
            let length = value.to_string().len();
            prop_assert!(length <= budget + 24 * 8, "{length} of {budget}: {value}");
        }
    }
}
