use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::moment;
use crate::error::Error;
use crate::record::{ActorKind, Outcome};

/// Which records, in which order. Empty, it asks for all, newest first.
///
/// Conditions hold together; of the outcomes any. Text is compared exactly, upper case and lower
/// case apart, except where it says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AuditQuery {
    /// From this moment on (`recorded_at`, the database's clock).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The actor's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// What kind of actor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_kind: Option<ActorKind>,
    /// The action, or with `.*` at its end all that begin so, such as `entry.*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The kind of resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    /// Which resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// Any of these outcomes; all, if none is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outcome: Vec<Outcome>,
    /// The tenant that was acted in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The service that wrote the record; the command's `--written-by`.
    #[serde(alias = "written_by", skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_address: Option<String>,
    /// The request's method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The route's template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The request's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The trace's id: 32 lower-case hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The record's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_id: Option<Uuid>,
    /// A field that was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// What the reason contains, in upper or lower case: of ASCII letters everywhere, of others on
    /// Postgres where the database's locale knows them, on SQLite not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// By what to sort; records that are equal in it, by time and id.
    pub sort: SortBy,
    /// Which way.
    pub direction: Direction,
    /// Records a page, 1 to 1,000; by default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u16>,
}

/// By what records are sorted. Those that lack it come as if it were empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SortBy {
    /// When the record was written.
    #[default]
    RecordedAt,
    /// When the work began.
    OccurredAt,
    /// The actor's id.
    Actor,
    /// The action.
    Action,
    /// The kind of resource.
    ResourceType,
    /// The resource's id.
    ResourceId,
    /// The outcome's word.
    Outcome,
    /// The status code.
    Status,
    /// The tenant.
    Tenant,
    /// The service.
    Service,
    /// The client's address, as text.
    ClientAddress,
    /// The method.
    Method,
    /// The route.
    Route,
    /// The request's id.
    RequestId,
    /// The trace's id.
    TraceId,
    /// The reason.
    Reason,
}

/// Which end comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The newest, or last in the alphabet.
    #[default]
    Descending,
    /// The oldest, or first in the alphabet.
    Ascending,
}

/// Declares the builder's methods for text.
macro_rules! texts {
    ($($(#[doc = $doc:literal])+ $name:ident;)*) => {
        $(
            $(#[doc = $doc])+
            #[must_use]
            pub fn $name(mut self, value: impl Into<String>) -> Self {
                self.$name = Some(value.into());
                self
            }
        )*
    };
}

impl AuditQuery {
    /// Asks for all records, newest first.
    pub fn new() -> Self {
        Self::default()
    }

    texts! {
        /// Only by the actor of this id.
        actor;
        /// Only this action, or with `.*` at its end all that begin so.
        action;
        /// Only in this tenant.
        tenant;
        /// Only of this service.
        service;
        /// Only from this address.
        client_address;
        /// Only with this method.
        method;
        /// Only on this route.
        route;
        /// Only of this request.
        request_id;
        /// Only of this trace.
        trace_id;
        /// Only where this field was changed.
        changed;
        /// Only where the reason contains this.
        reason;
    }

    /// Only from this moment on.
    #[must_use]
    pub fn since(mut self, since: Timestamp) -> Self {
        self.since = Some(since);
        self
    }

    /// Only before this moment.
    #[must_use]
    pub fn until(mut self, until: Timestamp) -> Self {
        self.until = Some(until);
        self
    }

    /// Only by actors of this kind.
    #[must_use]
    pub fn actor_kind(mut self, kind: ActorKind) -> Self {
        self.actor_kind = Some(kind);
        self
    }

    /// Only about this resource.
    #[must_use]
    pub fn resource(mut self, resource_type: impl Into<String>, id: impl Into<String>) -> Self {
        self.resource_type = Some(resource_type.into());
        self.resource_id = Some(id.into());
        self
    }

    /// Only about resources of this kind.
    #[must_use]
    pub fn resource_type(mut self, resource_type: impl Into<String>) -> Self {
        self.resource_type = Some(resource_type.into());
        self
    }

    /// Only with this outcome, or another one that is named.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        if !self.outcome.contains(&outcome) {
            self.outcome.push(outcome);
        }
        self
    }

    /// Only the record of this id.
    #[must_use]
    pub fn record_id(mut self, id: Uuid) -> Self {
        self.record_id = Some(id);
        self
    }

    /// Sorts by this element.
    #[must_use]
    pub fn sort(mut self, by: SortBy, direction: Direction) -> Self {
        self.sort = by;
        self.direction = direction;
        self
    }

    /// At most so many records a page: 1 to 1,000.
    #[must_use]
    pub fn limit(mut self, records: u16) -> Self {
        self.limit = Some(records);
        self
    }

    /// Reads a query from names and values, such as those of a URL or a form. Empty values count
    /// as not given; `outcome` may be there several times, or hold several with commas between; `since` and
    /// `until` are [`moment`](super::moment)s.
    ///
    /// # Errors
    ///
    /// When a name is no field of the query, a value is not what the field takes, or another field than
    /// `outcome` is there twice.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Error> {
        let mut fields = Map::new();
        for (name, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
            if name == "outcome" {
                let outcomes = fields
                    .entry(name)
                    .or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(outcomes) = outcomes {
                    outcomes.extend(value.split(',').map(Value::from));
                }
                continue;
            }
            let value = match (name, value.parse::<u16>()) {
                ("since" | "until", _) => match moment(value) {
                    Ok(moment) => Value::from(moment.to_string()),
                    Err(Error::InvalidQuery(what)) => return Err(refused(name, &what)),
                    Err(other) => return Err(other),
                },
                ("limit", Ok(limit)) => Value::from(limit),
                _ => Value::from(value),
            };
            // Read one by one, so that the error can name the field.
            let alone = Map::from_iter([(name.to_owned(), value.clone())]);
            Self::from_fields(alone).map_err(|error| refused(name, &error))?;
            if fields.insert(name.to_owned(), value).is_some() {
                return Err(refused(name, &"it is there twice"));
            }
        }
        Self::from_fields(fields).map_err(|error| refused("outcome", &error))
    }

    fn from_fields(fields: Map<String, Value>) -> Result<Self, serde_json::Error> {
        serde_json::from_value(Value::Object(fields))
    }

    /// The names and values from which [`from_pairs`](Self::from_pairs) makes this query again.
    pub fn to_pairs(&self) -> Vec<(String, String)> {
        let Ok(Value::Object(fields)) = serde_json::to_value(self) else {
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for (name, value) in fields {
            match value {
                Value::String(text) => pairs.push((name, text)),
                Value::Array(texts) => {
                    let texts = texts
                        .into_iter()
                        .filter_map(|it| Some(it.as_str()?.to_owned()));
                    pairs.extend(texts.map(|text| (name.clone(), text)));
                }
                other => pairs.push((name, other.to_string())),
            }
        }
        let ordinary = Self::default();
        pairs.retain(|(name, _)| match name.as_str() {
            "sort" => self.sort != ordinary.sort,
            "direction" => self.direction != ordinary.direction,
            _ => true,
        });
        pairs
    }

    pub(super) fn page_size(&self) -> Result<usize, Error> {
        match self.limit {
            None => Ok(100),
            Some(limit @ 1..=1000) => Ok(usize::from(limit)),
            Some(limit) => Err(Error::InvalidQuery(format!(
                "limit is {limit}: write a number from 1 to 1000, and ask for the next page"
            ))),
        }
    }
}

fn refused(name: &str, error: &impl std::fmt::Display) -> Error {
    Error::InvalidQuery(format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{AuditQuery, Direction, SortBy};
    use crate::record::{ActorKind, Outcome};

    #[test]
    fn a_query_survives_its_pairs() {
        let query = AuditQuery::new()
            .since("2026-10-01T00:00:00Z".parse().unwrap())
            .actor("ada & co")
            .actor_kind(ActorKind::User)
            .action("entry.*")
            .resource("entry", "7")
            .outcome(Outcome::Denied)
            .outcome(Outcome::TimedOut)
            .sort(SortBy::ClientAddress, Direction::Ascending)
            .limit(20);
        let pairs = query.to_pairs();
        let again = AuditQuery::from_pairs(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        assert_eq!(again.unwrap(), query);
        assert!(AuditQuery::new().to_pairs().is_empty());
    }

    #[test]
    fn what_is_no_query_is_refused_by_name() {
        for (name, value) in [
            ("actr", "ada"),
            ("since", "yesterday"),
            ("outcome", "fine"),
            ("limit", "many"),
            ("record_id", "7"),
            ("sort", "amount; DROP TABLE record"),
        ] {
            let error = AuditQuery::from_pairs([(name, value)])
                .unwrap_err()
                .to_string();
            assert!(error.contains(name), "{error}");
        }
        assert_eq!(
            AuditQuery::from_pairs([("actor", "")]).unwrap(),
            AuditQuery::new()
        );
        assert!(AuditQuery::new().limit(0).page_size().is_err());
        assert!(AuditQuery::new().limit(1001).page_size().is_err());
    }
}
