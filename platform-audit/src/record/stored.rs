//! Parsing of stored records, including those that an administrator wrote by hand.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{ActorKind, AuditRecord, Change, Outcome};

/// The maximum size of the raw text that is kept of an unparsable column, in bytes.
const MAX_EXCERPT: usize = 4 * 1024;

/// The member of `details` that contains the raw text of unparsable columns.
const UNREADABLE: &str = "[unreadable]";

/// Stands for an earlier timestamp, which the toolkit cannot represent.
pub(crate) const EARLIEST: &str = "0001-01-01T00:00:00Z";
/// Stands for a later or malformed timestamp.
pub(crate) const LATEST: &str = "9999-12-30T00:00:00Z";

/// The identifying columns of a row, and its sort key. They are read on their own when the whole
/// row cannot be read.
#[derive(Debug, Deserialize)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) recorded_at: String,
    #[serde(flatten)]
    columns: Map<String, Value>,
}

impl AuditRecord {
    /// Parses a row of the database, in JSON.
    ///
    /// An administrator can write malformed rows, such as an array in place of `details`. Such a
    /// row must stay visible, and must not make a query fail. So the raw text of an unparsable
    /// column is moved to `details`, and `cut` names the column. `cut` also names columns that the
    /// database truncated. In `changes`, only the malformed members are moved.
    pub(crate) fn from_row(row: &str) -> serde_json::Result<Self> {
        match serde_json::from_str(row) {
            Ok(record) if !row.contains(OVERSIZED) => Ok(record),
            _ => parse_leniently(row),
        }
    }

    /// Builds a placeholder for a row whose key alone could be read. `reason` explains why.
    pub(crate) fn unreadable(key: &Key, reason: &str) -> serde_json::Result<Self> {
        let mut columns = key.columns.clone();
        columns.insert("id".to_owned(), key.id.as_str().into());
        columns.insert("recorded_at".to_owned(), key.recorded_at.as_str().into());
        columns.insert(UNREADABLE.to_owned(), reason.into());
        parse_leniently(&Value::Object(columns).to_string())
    }
}

/// The member that lists the columns which the database truncated.
const OVERSIZED: &str = r#""oversized""#;

/// Splits the members of the column `changes` into valid and malformed ones, if the column is an
/// object.
fn split_changes(raw: &str) -> serde_json::Result<Option<(Box<RawValue>, Changes<'_>)>> {
    let Ok(changes) = serde_json::from_str::<Changes<'_>>(raw) else {
        return Ok(None);
    };
    let (valid, malformed): (Changes<'_>, Changes<'_>) = changes
        .into_iter()
        .partition(|(_, change)| parses_as::<Change>(change.get()));
    let valid = serde_json::value::to_raw_value(&valid)?;
    Ok(Some((valid, malformed)))
}

type Changes<'a> = BTreeMap<String, &'a RawValue>;

/// A column, whether its text can be parsed, and its replacement otherwise.
type Fallback = (&'static str, fn(&str) -> bool, Option<&'static str>);

const FALLBACKS: [Fallback; 11] = [
    ("changes", parses_as::<BTreeMap<String, Change>>, Some("{}")),
    ("details", parses_as::<Map<String, Value>>, Some("{}")),
    ("cut", parses_as::<Vec<String>>, Some("[]")),
    ("status", parses_as::<Option<u16>>, None),
    ("service", parses_as::<String>, Some(r#""""#)),
    ("actor_kind", parses_as::<ActorKind>, Some(r#""anonymous""#)),
    ("actor_id", parses_as::<String>, Some(r#""""#)),
    ("action", parses_as::<String>, Some(r#""""#)),
    ("outcome", parses_as::<Outcome>, Some(r#""failed""#)),
    (
        "recorded_at",
        parses_as::<Timestamp>,
        Some(r#""9999-12-30T00:00:00Z""#),
    ),
    (
        "occurred_at",
        parses_as::<Timestamp>,
        Some(r#""9999-12-30T00:00:00Z""#),
    ),
];

fn parse_leniently(row: &str) -> serde_json::Result<AuditRecord> {
    let mut columns: BTreeMap<String, &RawValue> = serde_json::from_str(row)?;
    let oversized = columns.remove("oversized");
    let oversized = oversized.and_then(|raw| serde_json::from_str::<Vec<String>>(raw.get()).ok());
    let reason = columns.remove(UNREADABLE);
    let mut unreadable = Map::new();
    let mut cut = Vec::new();
    let changes = columns.get("changes").map_or("null", |raw| raw.get());
    let changes = split_changes(changes)?.filter(|(_, malformed)| !malformed.is_empty());
    if let Some((valid, malformed)) = &changes {
        columns.insert("changes".to_owned(), valid);
        let raw = serde_json::to_string(malformed)?;
        unreadable.insert("changes".to_owned(), excerpt(&raw));
        cut.extend(malformed.keys().map(|field| format!("changes.{field}")));
    }
    for (column, is_valid, replacement) in FALLBACKS {
        let raw = columns.get(column).map_or("null", |raw| raw.get());
        if is_valid(raw) {
            continue;
        }
        unreadable.insert(column.to_owned(), excerpt(raw));
        cut.push(column.to_owned());
        let replacement = match column {
            "occurred_at" => {
                let recorded_at = columns.get("recorded_at").map(|raw| raw.get());
                recorded_at.or(replacement)
            }
            "recorded_at" if raw.starts_with("\"-") || raw.ends_with("BC\"") => {
                Some(r#""0001-01-01T00:00:00Z""#)
            }
            _ => replacement,
        };
        match replacement {
            Some(value) => columns.insert(column.to_owned(), serde_json::from_str(value)?),
            None => columns.remove(column),
        };
    }
    let mut record: AuditRecord = serde_json::from_str(&serde_json::to_string(&columns)?)?;
    record.cut.extend(oversized.into_iter().flatten());
    record.cut.extend(cut);
    let explanation = match reason {
        Some(reason) => serde_json::from_str(reason.get())?,
        None if unreadable.is_empty() => return Ok(record),
        None => Value::Object(unreadable),
    };
    record.details.insert(UNREADABLE.to_owned(), explanation);
    Ok(record)
}

/// Returns the beginning of `raw` as a JSON string.
fn excerpt(raw: &str) -> Value {
    raw[..raw.floor_char_boundary(MAX_EXCERPT)].into()
}

fn parses_as<T: DeserializeOwned>(raw: &str) -> bool {
    serde_json::from_str::<T>(raw).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{AuditRecord, FALLBACKS, Key};
    use crate::record::{COLUMNS, Kind};

    /// Without a replacement, one unparsable value would make the whole record unreadable. Nullable
    /// texts need none, because the databases accept only text in them.
    #[test]
    fn every_column_that_may_be_unreadable_has_a_fallback() {
        for column in &COLUMNS {
            let has_fallback = FALLBACKS.iter().any(|(name, ..)| *name == column.name);
            let optional_text = column.nullable && column.kind != Kind::Status;
            let is_safe = has_fallback || optional_text || column.name == "id";
            assert!(is_safe, "{}", column.name);
        }
    }

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
    fn a_malformed_column_hides_no_other_column() {
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
        let valid = AuditRecord::from_row(&row("status", "201")).unwrap();
        assert_eq!((valid.details.len(), valid.cut.len()), (1, 1));
    }

    #[test]
    fn a_malformed_change_is_moved_to_the_details() {
        let changes = r#"{"amount": {"before": 1, "after": 2}, "weird": [1,2], "x": 7, "y": {"after": 1, "by": "eve"}}"#;
        let record = AuditRecord::from_row(&row("changes", changes)).unwrap();
        let valid: Vec<_> = record.changes.keys().collect();
        assert_eq!(valid, ["amount"]);
        assert_eq!(
            record.cut,
            ["path", "changes.weird", "changes.x", "changes.y"]
        );
        let raw = r#"{"weird":[1,2],"x":7,"y":{"after": 1, "by": "eve"}}"#;
        assert_eq!(record.details["[unreadable]"], json!({ "changes": raw }));
        assert_eq!(record.details["kept"], true);
    }

    #[test]
    fn a_row_without_an_id_is_an_error() {
        assert!(AuditRecord::from_row("{}").is_err());
        assert!(AuditRecord::from_row(&row("id", "7")).is_err());
    }

    #[test]
    fn a_truncated_column_is_listed_in_cut() {
        let record = AuditRecord::from_row(&row("oversized", "[\"reason\"]")).unwrap();
        assert_eq!(record.cut, ["path", "reason"]);
        assert!(!record.details.contains_key("[unreadable]"));
    }

    #[test]
    fn an_unreadable_row_keeps_its_key() {
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
