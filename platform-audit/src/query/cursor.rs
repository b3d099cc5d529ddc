use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{AuditQuery, Direction, SortBy};
use crate::error::Error;
use crate::record::{AuditRecord, EARLIEST, LATEST};

/// A position in the sorted records, for keyset pagination: pages stay stable while records are
/// being written.
///
/// The text form is opaque and URL-safe. A cursor is only valid for a query with the same sort
/// order as the one it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cursor(pub(super) CursorPosition);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CursorPosition {
    sort: SortBy,
    direction: Direction,
    /// The record's value in the sort column, truncated to [`KEY_LENGTH`].
    pub(super) key: String,
    pub(super) recorded_at: Timestamp,
    pub(super) id: Uuid,
    /// Whether the page ends before this record instead of starting after it.
    pub(super) before: bool,
}

/// Length of a sort key in characters. The SQL compares the same prefix.
pub(super) const KEY_LENGTH: usize = 1024;

impl Cursor {
    /// A cursor at `record`, which must have been read from the database so that `recorded_at` is
    /// set. With `before`, the page ends before the record; otherwise it starts after it.
    pub(crate) fn at_record(record: &AuditRecord, query: &AuditQuery, before: bool) -> Self {
        Self(CursorPosition {
            sort: query.sort,
            direction: query.direction,
            key: query.sort.key(record).chars().take(KEY_LENGTH).collect(),
            recorded_at: record.recorded_at.unwrap_or_default(),
            id: record.id,
            before,
        })
    }

    /// Whether the cursor is at the latest representable time, so that no record can follow. The
    /// record at the cursor has the timestamp `infinity`, which was replaced with that time, so the
    /// next page would contain the record again.
    pub(super) fn is_at_end_of_time(&self) -> bool {
        let descending = (self.0.direction == Direction::Descending) != self.0.before;
        let end = if descending { EARLIEST } else { LATEST };
        self.0.sort == SortBy::RecordedAt && end.parse().ok() == Some(self.0.recorded_at)
    }

    /// The id of the record at this position.
    pub(super) fn id(&self) -> Uuid {
        self.0.id
    }

    /// The `recorded_at` of the record at this position.
    pub(super) fn recorded_at(&self) -> Timestamp {
        self.0.recorded_at
    }

    /// The position as an entry in the `details` of an `audit.read` record.
    pub(super) fn as_detail(&self) -> (&'static str, Value) {
        let position =
            json!({ "key": self.0.key, "recorded_at": self.0.recorded_at, "id": self.0.id });
        (if self.0.before { "before" } else { "after" }, position)
    }

    /// Whether the page ends before this record instead of starting after it.
    pub(super) fn is_before(&self) -> bool {
        self.0.before
    }

    /// The position, if the cursor belongs to the sort order of `query`.
    pub(super) fn position(&self, query: &AuditQuery) -> Result<&CursorPosition, Error> {
        if (self.0.sort, self.0.direction) == (query.sort, query.direction) {
            Ok(&self.0)
        } else {
            Err(Error::InvalidQuery(
                "the cursor belongs to another sort order: request the first page again".to_owned(),
            ))
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_vec(&self.0).map_err(|_| fmt::Error)?;
        f.write_str(&hex::encode(text))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = hex::decode(text).ok();
        let position = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        position.map(Self).ok_or_else(|| {
            Error::InvalidQuery("the cursor is malformed: request the first page again".to_owned())
        })
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

impl TryFrom<String> for Cursor {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl SortBy {
    /// The sort key of `record`, in the form that the SQL compares.
    fn key(self, record: &AuditRecord) -> String {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        match self {
            Self::RecordedAt => String::new(),
            Self::OccurredAt => {
                let at = record.occurred_at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ");
                at.to_string()
            }
            Self::Actor => record.actor.id.clone(),
            Self::Action => record.action.clone(),
            Self::ResourceType => text(&record.resource_type),
            Self::ResourceId => text(&record.resource_id),
            Self::Outcome => record.outcome.as_str().to_owned(),
            Self::Status => record.status.unwrap_or_default().to_string(),
            Self::Tenant => text(&record.actor.tenant),
            Self::Service => record.service.clone(),
            Self::ClientAddress => text(&record.client_address),
            Self::Method => text(&record.method),
            Self::Route => text(&record.route),
            Self::RequestId => text(&record.request_id),
            Self::TraceId => text(&record.trace_id),
            Self::Reason => text(&record.reason),
        }
    }
}
