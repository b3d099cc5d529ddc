//! The columns of a record, listed once.
//!
//! SQL statements, their arguments, CSV, Parquet and the limits of texts are derived from
//! [`COLUMNS`]. Only the migrations, [`AuditRecord`] itself, and code that interprets single
//! columns (filters, OCSF, FHIR, web pages) are written by hand. Tests compare the list with both
//! databases and with [`AuditRecord`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{ActorKind, AuditRecord, Change, Outcome};

/// The limit of each text that describes the actor, in bytes.
pub(crate) const ACTOR_LIMIT: usize = 256;

/// One column of a record.
#[derive(Debug)]
pub(crate) struct Column {
    /// Its name in the databases and in exports.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether an [`AuditRecord`] may have no value for this column. In the database, columns with
    /// [`Source::Database`] always have a value.
    #[cfg_attr(not(feature = "export"), allow(dead_code, reason = "for Parquet"))]
    pub(crate) nullable: bool,
    pub(crate) source: Source,
    /// What the sealed log commits to together with this column.
    #[cfg_attr(not(feature = "seal"), allow(dead_code, reason = "for the sealed log"))]
    pub(crate) group: Group,
    /// Identifies the column in the sealed log. It is never changed or used again.
    #[cfg_attr(not(feature = "seal"), allow(dead_code, reason = "for the sealed log"))]
    pub(crate) tag: u8,
    pub(crate) value: fn(&AuditRecord) -> ColumnValue<'_>,
    /// The length in bytes to which a text is truncated. `None` for columns that are not text, and
    /// for texts that are validated or generated elsewhere.
    pub(crate) limit: Option<usize>,
    /// Returns the text to truncate, if the column is a text with a limit.
    pub(super) text: fn(&mut AuditRecord) -> Option<&mut String>,
}

/// What a column contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Uuid,
    /// The identifier of the transaction: a number on Postgres, a text on SQLite.
    TransactionId,
    /// A time in microseconds.
    Moment,
    Text,
    /// A value of a fixed set (`actor_kind`, `outcome`), with its own domain on Postgres.
    Word,
    /// An HTTP status code.
    Status,
    Json,
}

/// Where the value of a column comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The database fills it in; a service must not choose it.
    Database,
    /// It may differ between the records of one transaction.
    Record,
    /// All records of one transaction share it.
    Operation,
}

/// The values that the sealed log commits to, and can erase, together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "seal"), allow(dead_code, reason = "for the sealed log"))]
pub(crate) enum Group {
    /// Columns without personal data. They are never erased.
    Plain,
    /// Who acted, and from where.
    Who,
    /// On what.
    What,
    Reason,
    /// Each changed field by itself.
    Changes,
    /// Each detail by itself.
    Details,
}

#[cfg(feature = "seal")]
impl Group {
    /// Every group.
    pub(crate) const ALL: [Self; 6] = [
        Self::Plain,
        Self::Who,
        Self::What,
        Self::Reason,
        Self::Changes,
        Self::Details,
    ];

    /// Its number in the sealed log. It is never changed or used again.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Who => 1,
            Self::What => 2,
            Self::Reason => 3,
            Self::Changes => 4,
            Self::Details => 5,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.number() == number)
    }

    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "a column without personal data",
            Self::Who => "the actor or the origin",
            Self::What => "the resource's id or the path",
            Self::Reason => "the reason",
            Self::Changes => "changes",
            Self::Details => "details",
        }
    }
}

/// The value of a column in one record.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ColumnValue<'a> {
    Uuid(Uuid),
    Moment(Option<Timestamp>),
    Text(Option<&'a str>),
    Status(Option<u16>),
    Json(Json<'a>),
}

/// The value of a JSON column.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Json<'a> {
    Changes(&'a BTreeMap<String, Change>),
    Details(&'a Map<String, Value>),
    Names(&'a [String]),
}

/// One [`Column`] per line: name, kind (with the limit of its text), whether a record may lack it,
/// source, group and tag in the sealed log, and field of [`AuditRecord`].
macro_rules! columns {
    ($($name:ident: $kind:ident $(($limit:expr))?, $need:ident, $source:ident, $group:ident $tag:literal, $($field:ident).+;)+) => {
        [$(Column {
            name: stringify!($name),
            kind: Kind::$kind,
            nullable: columns!(@nullable $need),
            source: Source::$source,
            group: Group::$group,
            tag: $tag,
            value: |record| record.$($field).+.value(),
            limit: columns!(@limit $($limit)?),
            text: |record| record.$($field).+.text_mut(),
        }),+]
    };
    (@nullable required) => { false };
    (@nullable optional) => { true };
    (@limit) => { None };
    (@limit $limit:expr) => { Some($limit) };
}

/// Every column, in the order of the databases' tables and of exports.
pub(crate) static COLUMNS: [Column; 29] = columns! {
    id:                 Uuid,              required, Record,    Plain 1,    id;
    xid:                TransactionId,     optional, Database,  Plain 2,    xid;
    occurred_at:        Moment,            required, Operation, Plain 3,    occurred_at;
    recorded_at:        Moment,            optional, Database,  Plain 4,    recorded_at;
    service:            Text,              required, Operation, Plain 5,    service;
    service_version:    Text(100),         optional, Operation, Plain 6,    service_version;
    actor_kind:         Word,              required, Operation, Plain 7,    actor.kind;
    actor_id:           Text(ACTOR_LIMIT), required, Operation, Who 8,      actor.id;
    actor_session:      Text(ACTOR_LIMIT), optional, Operation, Who 9,      actor.session;
    actor_tenant:       Text(ACTOR_LIMIT), optional, Operation, Plain 10,   actor.tenant;
    actor_on_behalf_of: Text(ACTOR_LIMIT), optional, Operation, Who 11,     actor.on_behalf_of;
    action:             Text,              required, Record,    Plain 12,   action;
    resource_type:      Text(100),         optional, Record,    Plain 13,   resource_type;
    resource_id:        Text(256),         optional, Record,    What 14,    resource_id;
    outcome:            Word,              required, Operation, Plain 15,   outcome;
    status:             Status,            optional, Operation, Plain 16,   status;
    error_type:         Text(100),         optional, Operation, Plain 17,   error_type;
    reason:             Text(1024),        optional, Operation, Reason 18,  reason;
    request_id:         Text(128),         optional, Operation, Who 19,     request_id;
    method:             Text(32),          optional, Operation, Plain 20,   method;
    route:              Text(512),         optional, Operation, Plain 21,   route;
    path:               Text(1024),        optional, Operation, What 22,    path;
    client_address:     Text(64),          optional, Operation, Who 23,     client_address;
    user_agent:         Text(512),         optional, Operation, Who 24,     user_agent;
    trace_id:           Text,              optional, Operation, Plain 25,   trace_id;
    span_id:            Text,              optional, Operation, Plain 26,   span_id;
    changes:            Json,              required, Record,    Changes 27, changes;
    details:            Json,              required, Record,    Details 28, details;
    cut:                Json,              required, Record,    Plain 29,   cut;
};

/// The columns from this source, in the order of [`COLUMNS`].
pub(crate) fn columns_from(source: Source) -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().filter(move |column| column.source == source)
}

impl<'a> ColumnValue<'a> {
    /// Whether this is the column's default, so that an INSERT can omit the column.
    pub(crate) fn is_default(self) -> bool {
        match self {
            Self::Uuid(_) | Self::Moment(Some(_)) | Self::Text(Some(_)) | Self::Status(Some(_)) => {
                false
            }
            Self::Moment(None) | Self::Text(None) | Self::Status(None) => true,
            Self::Json(Json::Changes(changes)) => changes.is_empty(),
            Self::Json(Json::Details(details)) => details.is_empty(),
            Self::Json(Json::Names(names)) => names.is_empty(),
        }
    }

    /// Converts the value to text; `None` if there is no value. Members of JSON objects are in
    /// alphabetical order, as in exports.
    #[cfg_attr(not(feature = "export"), allow(dead_code, reason = "for exports"))]
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Uuid(id) => Some(id.to_string().into()),
            Self::Moment(at) => at.map(|at| at.to_string().into()),
            Self::Text(text) => text.map(Cow::Borrowed),
            Self::Status(status) => status.map(|status| status.to_string().into()),
            Self::Json(json) => {
                // Every key is a string and every value is JSON already, so this cannot fail.
                let json = serde_json::to_value(json).unwrap_or_default();
                Some(json.to_string().into())
            }
        }
    }
}

/// The type of a field that is a column.
trait Field {
    fn value(&self) -> ColumnValue<'_>;

    fn text_mut(&mut self) -> Option<&mut String> {
        None
    }
}

impl Field for Uuid {
    fn value(&self) -> ColumnValue<'_> {
        ColumnValue::Uuid(*self)
    }
}

impl Field for Timestamp {
    fn value(&self) -> ColumnValue<'_> {
        ColumnValue::Moment(Some(*self))
    }
}

impl Field for Option<Timestamp> {
    fn value(&self) -> ColumnValue<'_> {
        ColumnValue::Moment(*self)
    }
}

impl Field for String {
    fn value(&self) -> ColumnValue<'_> {
        ColumnValue::Text(Some(self))
    }

    fn text_mut(&mut self) -> Option<&mut String> {
        Some(self)
    }
}

impl Field for Option<String> {
    fn value(&self) -> ColumnValue<'_> {
        ColumnValue::Text(self.as_deref())
    }

    fn text_mut(&mut self) -> Option<&mut String> {
        self.as_mut()
    }
}

impl Field for ActorKind {
    fn value(&self) -> ColumnValue<'_> {
        ColumnValue::Text(Some(self.as_str()))
    }
}

impl Field for Outcome {
    fn value(&self) -> ColumnValue<'_> {
        ColumnValue::Text(Some(self.as_str()))
    }
}

impl Field for Option<u16> {
    fn value(&self) -> ColumnValue<'_> {
        ColumnValue::Status(*self)
    }
}

impl Field for BTreeMap<String, Change> {
    fn value(&self) -> ColumnValue<'_> {
        ColumnValue::Json(Json::Changes(self))
    }
}

impl Field for Map<String, Value> {
    fn value(&self) -> ColumnValue<'_> {
        ColumnValue::Json(Json::Details(self))
    }
}

impl Field for Vec<String> {
    fn value(&self) -> ColumnValue<'_> {
        ColumnValue::Json(Json::Names(self))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::{AuditRecord, COLUMNS, ColumnValue, Kind};

    /// A record in which every column has a different value.
    fn every_column() -> Value {
        json!({
            "id": "019355d0-7b1d-7e3a-9c55-0242ac120002", "xid": "7",
            "occurred_at": "2026-11-23T17:00:00.123456Z", "recorded_at": "2026-11-23T17:00:01Z",
            "service": "ledger", "service_version": "1.2.3", "actor_kind": "user",
            "actor_id": "ada", "actor_session": "s-1", "actor_tenant": "clinic-7",
            "actor_on_behalf_of": "grace", "action": "entry.create", "resource_type": "entry",
            "resource_id": "8", "outcome": "success", "status": 201, "error_type": "none",
            "reason": "because", "request_id": "r-1", "method": "POST", "route": "/entries/{id}",
            "path": "/entries/8", "client_address": "192.0.2.7", "user_agent": "tests/1",
            "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331",
            "changes": {"amount": {"before": 1, "after": 2}}, "details": {"note": "a"},
            "cut": ["path"],
        })
    }

    #[test]
    fn every_field_of_a_record_is_a_column_with_its_value() {
        let fields = every_column();
        let mut record: AuditRecord = serde_json::from_value(fields.clone()).unwrap();
        let written = serde_json::to_value(&record).unwrap();
        assert_eq!(written, fields);
        let names: BTreeSet<&str> = COLUMNS.iter().map(|column| column.name).collect();
        let fields = fields.as_object().unwrap();
        assert_eq!(names, fields.keys().map(String::as_str).collect());
        assert_eq!(names.len(), COLUMNS.len());
        for column in &COLUMNS {
            let name = column.name;
            let expected = match &written[name] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let value = (column.value)(&record);
            assert_eq!(value.text().as_deref(), Some(&*expected), "{name}");
            let kinds: &[Kind] = match value {
                ColumnValue::Uuid(_) => &[Kind::Uuid],
                ColumnValue::Moment(_) => &[Kind::Moment],
                ColumnValue::Text(_) => &[Kind::Text, Kind::Word, Kind::TransactionId],
                ColumnValue::Status(_) => &[Kind::Status],
                ColumnValue::Json(_) => &[Kind::Json],
            };
            assert!(kinds.contains(&column.kind), "{name}");
            if column.limit.is_some() {
                let text = (column.text)(&mut record).map(|text| text.clone());
                assert_eq!(text, Some(expected), "{name}");
            }
        }
    }

    #[test]
    fn a_record_may_lack_what_is_optional_and_nothing_else() {
        for column in &COLUMNS {
            let mut fields = every_column();
            fields[column.name] = Value::Null;
            let record = serde_json::from_value::<AuditRecord>(fields);
            assert_eq!(record.is_ok(), column.nullable, "{}", column.name);
            if let Ok(record) = record {
                assert_eq!((column.value)(&record).text(), None, "{}", column.name);
            }
        }
    }
}
