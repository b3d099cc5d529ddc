use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{AuditQuery, Direction, SortBy};
use crate::error::Error;
use crate::record::{AuditRecord, EARLIEST, LATEST};

/// Where a page begins: beside a record, whatever is written meanwhile. Its text is opaque and fits
/// into a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cursor(pub(super) Place);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    sort: SortBy,
    direction: Direction,
    /// What the record has in what is sorted by.
    pub(super) key: String,
    pub(super) recorded_at: Timestamp,
    pub(super) id: Uuid,
    /// Whether the page ends there, rather than begins.
    pub(super) before: bool,
}

/// How many characters of a text a cursor holds, which the statement compares by too.
pub(super) const KEY_LENGTH: usize = 1024;

impl Cursor {
    /// Beside `record`, which was read back and so knows when it was recorded.
    pub(crate) fn beside(record: &AuditRecord, query: &AuditQuery, before: bool) -> Self {
        Self(Place {
            sort: query.sort,
            direction: query.direction,
            key: query.sort.key(record).chars().take(KEY_LENGTH).collect(),
            recorded_at: record.recorded_at.unwrap_or_default(),
            id: record.id,
            before,
        })
    }

    /// Whether nothing can follow in the order of time: a cursor beside the moment that stands in for
    /// `infinity` would lead to the same record again.
    pub(super) fn is_at_the_end(&self) -> bool {
        let descending = (self.0.direction == Direction::Descending) != self.0.before;
        let end = if descending { EARLIEST } else { LATEST };
        self.0.sort == SortBy::RecordedAt && end.parse().ok() == Some(self.0.recorded_at)
    }

    /// The record that it is beside.
    pub(super) fn id(&self) -> Uuid {
        self.0.id
    }

    /// When that was recorded.
    pub(super) fn recorded_at(&self) -> Timestamp {
        self.0.recorded_at
    }

    /// Its place, as the record of a reading tells it.
    pub(super) fn told(&self) -> (&'static str, Value) {
        let place =
            json!({ "key": self.0.key, "recorded_at": self.0.recorded_at, "id": self.0.id });
        (if self.0.before { "before" } else { "after" }, place)
    }

    /// Whether the page ends there, rather than begins.
    pub(super) fn is_before(&self) -> bool {
        self.0.before
    }

    /// Its place, if it is one of `query`'s order.
    pub(super) fn place(&self, query: &AuditQuery) -> Result<&Place, Error> {
        if (self.0.sort, self.0.direction) == (query.sort, query.direction) {
            Ok(&self.0)
        } else {
            Err(Error::InvalidQuery(
                "the cursor is of another order: ask for the first page again".to_owned(),
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
        let place = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        place.map(Self).ok_or_else(|| {
            Error::InvalidQuery("the cursor is damaged: ask for the first page again".to_owned())
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
    /// What `record` has in it, as the statement compares it.
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
