use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{AuditRecord, Change};

/// How much of a column that cannot be read is told as text, in bytes.
const TOLD: usize = 4 * 1024;

/// Where it is told.
const UNREADABLE: &str = "[unreadable]";

impl AuditRecord {
    /// Reads a row of the database, in JSON.
    ///
    /// Whoever may write records can write what is none by hand, such as a list in place of `details`.
    /// It must hide neither itself nor the others: what cannot be read is told as text in `details`,
    /// and the column is named in `cut`; of `changes`, only the fields that are no changes.
    pub(crate) fn from_row(row: &str) -> serde_json::Result<Self> {
        serde_json::from_str(row).or_else(|_| odd(row))
    }
}

/// Moves what are no changes out of the column `changes`, if that is an object; the others are kept.
/// Answers the column in two parts.
fn apart(raw: &str) -> serde_json::Result<Option<(Box<RawValue>, Changes<'_>)>> {
    let Ok(changes) = serde_json::from_str::<Changes<'_>>(raw) else {
        return Ok(None);
    };
    let (good, odd): (Changes<'_>, Changes<'_>) = changes
        .into_iter()
        .partition(|(_, change)| reads::<Change>(change.get()));
    let good = serde_json::value::to_raw_value(&good)?;
    Ok(Some((good, odd)))
}

type Changes<'a> = BTreeMap<String, &'a RawValue>;

/// A column, whether it can be read, and what stands in for it otherwise.
type Check<'a> = (&'static str, fn(&str) -> bool, Option<&'a RawValue>);

fn odd(row: &str) -> serde_json::Result<AuditRecord> {
    let mut columns: BTreeMap<String, &RawValue> = serde_json::from_str(row)?;
    let recorded_at = columns.get("recorded_at").copied();
    let mut unreadable = Map::new();
    let mut cut = Vec::new();
    let changes = columns.get("changes").map_or("null", |raw| raw.get());
    let changes = apart(changes)?.filter(|(_, odd)| !odd.is_empty());
    if let Some((good, odd)) = &changes {
        columns.insert("changes".to_owned(), good);
        unreadable.insert("changes".to_owned(), told(&serde_json::to_string(odd)?));
        cut.extend(odd.keys().map(|field| format!("changes.{field}")));
    }
    let object = serde_json::from_str::<&RawValue>("{}")?;
    let list = serde_json::from_str::<&RawValue>("[]")?;
    let checks: [Check<'_>; 5] = [
        ("changes", reads::<BTreeMap<String, Change>>, Some(object)),
        ("details", reads::<Map<String, Value>>, Some(object)),
        ("cut", reads::<Vec<String>>, Some(list)),
        ("status", reads::<Option<u16>>, None),
        ("occurred_at", reads::<Timestamp>, recorded_at),
    ];
    for (column, reads, instead) in checks {
        let raw = columns.get(column).map_or("null", |raw| raw.get());
        if reads(raw) {
            continue;
        }
        unreadable.insert(column.to_owned(), told(raw));
        cut.push(column.to_owned());
        match instead {
            Some(instead) => columns.insert(column.to_owned(), instead),
            None => columns.remove(column),
        };
    }
    let mut record: AuditRecord = serde_json::from_str(&serde_json::to_string(&columns)?)?;
    record.cut.extend(cut);
    let unreadable = Value::Object(unreadable);
    record.details.insert(UNREADABLE.to_owned(), unreadable);
    Ok(record)
}

/// The beginning of `raw`, as a text.
fn told(raw: &str) -> Value {
    raw[..raw.floor_char_boundary(TOLD)].into()
}

fn reads<T: DeserializeOwned>(raw: &str) -> bool {
    serde_json::from_str::<T>(raw).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::AuditRecord;

    fn row(column: &str, value: &str) -> String {
        let mut row = json!({
            "id": uuid::Uuid::nil(), "recorded_at": "2026-11-28T01:00:00Z",
            "occurred_at": "2026-11-28T00:00:00Z", "service": "ledger", "actor_kind": "user",
            "actor_id": "ada", "action": "entry.create", "outcome": "success", "status": 201,
            "changes": {"amount": {"after": 1}}, "details": {"kept": true}, "cut": ["path"],
        });
        row[column] = Value::from("HERE");
        row.to_string().replace("\"HERE\"", value)
    }

    #[test]
    fn one_odd_column_hides_nothing_else() {
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(200), "]".repeat(200));
        for (column, value) in [
            ("changes", "[]"),
            ("details", r#"[1, {"database_user": "eve"}]"#),
            ("details", r#"{"n": 1e400}"#),
            ("details", &*deep),
            ("cut", "[1]"),
            ("status", "-1"),
            ("status", "70000"),
            ("occurred_at", "\"infinity\""),
        ] {
            let record = AuditRecord::from_row(&row(column, value)).unwrap();
            assert_eq!(record.details["[unreadable]"], json!({ column: value }));
            assert_eq!(record.cut.last().unwrap(), column);
            assert_eq!(record.actor.id, "ada");
            assert_eq!(record.details.contains_key("kept"), column != "details");
            assert_eq!(record.changes.is_empty(), column == "changes");
        }
        let whole = AuditRecord::from_row(&row("status", "201")).unwrap();
        assert_eq!((whole.details.len(), whole.cut.len()), (1, 1));
    }

    #[test]
    fn what_is_no_change_is_told_and_not_shown_as_one() {
        let changes = r#"{"amount": {"before": 1, "after": 2}, "weird": [1,2], "x": 7, "y": {"after": 1, "by": "eve"}}"#;
        let record = AuditRecord::from_row(&row("changes", changes)).unwrap();
        let shown: Vec<_> = record.changes.keys().collect();
        assert_eq!(shown, ["amount"]);
        assert_eq!(
            record.cut,
            ["path", "changes.weird", "changes.x", "changes.y"]
        );
        let told = r#"{"weird":[1,2],"x":7,"y":{"after": 1, "by": "eve"}}"#;
        assert_eq!(record.details["[unreadable]"], json!({ "changes": told }));
        assert_eq!(record.details["kept"], true);
    }

    #[test]
    fn what_is_no_record_at_all_is_an_error() {
        assert!(AuditRecord::from_row("{}").is_err());
        assert!(AuditRecord::from_row(&row("service", "7")).is_err());
    }
}
