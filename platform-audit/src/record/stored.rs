use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{ActorKind, AuditRecord, Change, Outcome};

/// How much of a column that cannot be read is shown, in bytes.
const SHOWN: usize = 4 * 1024;

/// Where it is shown.
const UNREADABLE: &str = "[unreadable]";

/// They stand in for times that are outside the years which can be read.
pub(crate) const EARLIEST: &str = "0001-01-01T00:00:00Z";
pub(crate) const LATEST: &str = "9999-12-30T00:00:00Z";

/// What identifies a row that cannot be read, and what it is sorted by.
#[derive(Debug, Deserialize)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) recorded_at: String,
    #[serde(flatten)]
    columns: Map<String, Value>,
}

impl AuditRecord {
    /// Reads a row of the database, in JSON.
    ///
    /// An administrator can write what is no record, such as a list in place of `details`. It must
    /// hide neither itself nor the others: what cannot be read is shown as text in `details`, and
    /// its column is named in `cut`, as is one that the database sent in part. Of `changes`, only the
    /// fields that are no changes are.
    pub(crate) fn from_row(row: &str) -> serde_json::Result<Self> {
        match serde_json::from_str(row) {
            Ok(record) if !row.contains(OVERSIZED) => Ok(record),
            _ => odd(row),
        }
    }

    /// Marks a row of which nothing but its key can be read, and says why.
    pub(crate) fn unreadable(key: &Key, why: &str) -> serde_json::Result<Self> {
        let mut columns = key.columns.clone();
        columns.insert("id".to_owned(), key.id.as_str().into());
        columns.insert("recorded_at".to_owned(), key.recorded_at.as_str().into());
        columns.insert(UNREADABLE.to_owned(), why.into());
        odd(&Value::Object(columns).to_string())
    }
}

/// The member that names what was sent in part.
const OVERSIZED: &str = r#""oversized""#;

/// Moves what are no changes out of the column `changes`, if that is an object; the others are kept.
/// Returns the column in two parts.
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
type Check = (&'static str, fn(&str) -> bool, Option<&'static str>);

const CHECKS: [Check; 11] = [
    ("changes", reads::<BTreeMap<String, Change>>, Some("{}")),
    ("details", reads::<Map<String, Value>>, Some("{}")),
    ("cut", reads::<Vec<String>>, Some("[]")),
    ("status", reads::<Option<u16>>, None),
    ("service", reads::<String>, Some(r#""""#)),
    ("actor_kind", reads::<ActorKind>, Some(r#""anonymous""#)),
    ("actor_id", reads::<String>, Some(r#""""#)),
    ("action", reads::<String>, Some(r#""""#)),
    ("outcome", reads::<Outcome>, Some(r#""failed""#)),
    (
        "recorded_at",
        reads::<Timestamp>,
        Some(r#""9999-12-30T00:00:00Z""#),
    ),
    (
        "occurred_at",
        reads::<Timestamp>,
        Some(r#""9999-12-30T00:00:00Z""#),
    ),
];

fn odd(row: &str) -> serde_json::Result<AuditRecord> {
    let mut columns: BTreeMap<String, &RawValue> = serde_json::from_str(row)?;
    let oversized = columns.remove("oversized");
    let oversized = oversized.and_then(|raw| serde_json::from_str::<Vec<String>>(raw.get()).ok());
    let why = columns.remove(UNREADABLE);
    let mut unreadable = Map::new();
    let mut cut = Vec::new();
    let changes = columns.get("changes").map_or("null", |raw| raw.get());
    let changes = apart(changes)?.filter(|(_, odd)| !odd.is_empty());
    if let Some((good, odd)) = &changes {
        columns.insert("changes".to_owned(), good);
        unreadable.insert("changes".to_owned(), shown(&serde_json::to_string(odd)?));
        cut.extend(odd.keys().map(|field| format!("changes.{field}")));
    }
    for (column, reads, instead) in CHECKS {
        let raw = columns.get(column).map_or("null", |raw| raw.get());
        if reads(raw) {
            continue;
        }
        unreadable.insert(column.to_owned(), shown(raw));
        cut.push(column.to_owned());
        let instead = match column {
            "occurred_at" => columns.get("recorded_at").map(|raw| raw.get()).or(instead),
            "recorded_at" if raw.starts_with("\"-") || raw.ends_with("BC\"") => {
                Some(r#""0001-01-01T00:00:00Z""#)
            }
            _ => instead,
        };
        match instead {
            Some(instead) => columns.insert(column.to_owned(), serde_json::from_str(instead)?),
            None => columns.remove(column),
        };
    }
    let mut record: AuditRecord = serde_json::from_str(&serde_json::to_string(&columns)?)?;
    record.cut.extend(oversized.into_iter().flatten());
    record.cut.extend(cut);
    let shown = match why {
        Some(why) => serde_json::from_str(why.get())?,
        None if unreadable.is_empty() => return Ok(record),
        None => Value::Object(unreadable),
    };
    record.details.insert(UNREADABLE.to_owned(), shown);
    Ok(record)
}

/// The beginning of `raw`, as a text.
fn shown(raw: &str) -> Value {
    raw[..raw.floor_char_boundary(SHOWN)].into()
}

fn reads<T: DeserializeOwned>(raw: &str) -> bool {
    serde_json::from_str::<T>(raw).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{AuditRecord, Key};

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
            ("recorded_at", "\"-infinity\""),
            ("outcome", "\"odd\""),
            ("actor_kind", "null"),
            ("service", "7"),
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
    fn what_has_no_id_is_an_error() {
        assert!(AuditRecord::from_row("{}").is_err());
        assert!(AuditRecord::from_row(&row("id", "7")).is_err());
    }

    #[test]
    fn what_was_sent_in_part_is_named() {
        let record = AuditRecord::from_row(&row("oversized", "[\"reason\"]")).unwrap();
        assert_eq!(record.cut, ["path", "reason"]);
        assert!(!record.details.contains_key("[unreadable]"));
    }

    #[test]
    fn of_a_row_that_cannot_be_read_the_key_is_shown() {
        let key: Key = serde_json::from_value(json!({
            "id": uuid::Uuid::from_u128(7), "recorded_at": "2026-11-28T01:00:00+00:00", "actor_id": "ada",
        }))
        .unwrap();
        let record = AuditRecord::unreadable(&key, "it is too large").unwrap();
        assert_eq!(record.id.as_u128(), 7);
        assert_eq!(record.recorded_at, "2026-11-28T01:00:00Z".parse().ok());
        assert_eq!(record.details["[unreadable]"], "it is too large");
        assert_eq!(record.actor.id, "ada");
        assert!(record.cut.contains(&"action".to_owned()));
    }
}
