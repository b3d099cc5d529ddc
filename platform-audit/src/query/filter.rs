use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::list::Syntax;
use super::moment;
use crate::error::Error;
use crate::record::{ActorKind, Outcome};

/// Which records, in which order. Empty, it asks for all, newest first.
///
/// Conditions hold together; of a list, any of its values (at most 100), and an empty one is no
/// condition. Text is compared exactly, upper case and lower case apart, except where it says
/// otherwise.
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actor: Vec<String>,
    /// What kind of actor.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actor_kind: Vec<ActorKind>,
    /// The action, or with `.*` at its end all that begin so, such as `entry.*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub action: Vec<String>,
    /// The kind of resource.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_type: Vec<String>,
    /// Which resource.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_id: Vec<String>,
    /// The outcome.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outcome: Vec<Outcome>,
    /// The tenant that was acted in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tenant: Vec<String>,
    /// The service that wrote the record; the command's `--written-by`.
    #[serde(alias = "written_by", skip_serializing_if = "Vec::is_empty")]
    pub service: Vec<String>,
    /// The client's address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_address: Vec<String>,
    /// The request's method.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub method: Vec<String>,
    /// The route's template.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<String>,
    /// The request's id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub request_id: Vec<String>,
    /// The trace's id: 32 lower-case hexadecimal digits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trace_id: Vec<String>,
    /// The record's id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub record_id: Vec<Uuid>,
    /// A field that was changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
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

/// Declares the builder's methods for lists of text.
macro_rules! texts {
    ($($(#[doc = $doc:literal])+ $name:ident;)*) => {
        $(
            $(#[doc = $doc])+
            #[must_use]
            pub fn $name(mut self, value: impl Into<String>) -> Self {
                let value = value.into();
                if !self.$name.contains(&value) {
                    self.$name.push(value);
                }
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

    // Each adds a value to its list.
    texts! {
        /// Only by the actor of this id, or another one that is named.
        actor;
        /// Only this action, or with `.*` at its end all that begin so, or another one that is named.
        action;
        /// Only about resources of this kind, or another one that is named.
        resource_type;
        /// Only in this tenant, or another one that is named.
        tenant;
        /// Only of this service, or another one that is named.
        service;
        /// Only from this address, or another one that is named.
        client_address;
        /// Only with this method, or another one that is named.
        method;
        /// Only on this route, or another one that is named.
        route;
        /// Only of this request, or another one that is named.
        request_id;
        /// Only of this trace, or another one that is named.
        trace_id;
        /// Only where this field was changed, or another one that is named.
        changed;
    }

    /// Only where the reason contains this.
    #[must_use]
    pub fn reason(mut self, text: impl Into<String>) -> Self {
        self.reason = Some(text.into());
        self
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

    /// Only by actors of this kind, or another one that is named.
    #[must_use]
    pub fn actor_kind(mut self, kind: ActorKind) -> Self {
        if !self.actor_kind.contains(&kind) {
            self.actor_kind.push(kind);
        }
        self
    }

    /// Only about this resource, in place of any that was named.
    #[must_use]
    pub fn resource(mut self, resource_type: impl Into<String>, id: impl Into<String>) -> Self {
        self.resource_type = vec![resource_type.into()];
        self.resource_id = vec![id.into()];
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

    /// Only the record of this id, or another one that is named.
    #[must_use]
    pub fn record_id(mut self, id: Uuid) -> Self {
        if !self.record_id.contains(&id) {
            self.record_id.push(id);
        }
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

    /// Reads a query from names and values, such as those of a URL or a form. Empty values count as
    /// not given. A list may be there several times, or have several values with commas between;
    /// `\,` is a comma in a value. `since` and `until` are [`moment`](super::moment)s.
    ///
    /// # Errors
    ///
    /// When a name is no field of the query, a value is not what the field takes, or a field that is
    /// no list is there twice. When a value has a star that stands for nothing, such as the actor
    /// `dr.*`, which would be compared exactly and find nothing; `\*` is a star in a value.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Error> {
        let mut fields = Map::new();
        for (name, text) in pairs.into_iter().filter(|(_, text)| !text.is_empty()) {
            let value = value(name, text)?;
            // Read one by one, so that the error can name the field.
            let alone = Map::from_iter([(name.to_owned(), value.clone())]);
            Self::from_fields(alone).map_err(|error| refused(name, &error))?;
            match (fields.get_mut(name), value) {
                (Some(Value::Array(values)), Value::Array(more)) => values.extend(more),
                (Some(_), _) => return Err(refused(name, &"it is there twice")),
                (None, value) => {
                    fields.insert(name.to_owned(), value);
                }
            }
        }
        let query = Self::from_fields(fields);
        query.map_err(|error| Error::InvalidQuery(error.to_string()))
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
            let syntax = Syntax::of(&name);
            match value {
                Value::String(text) => pairs.push((name, syntax.write(&text))),
                Value::Array(values) => {
                    let texts = values.iter().filter_map(Value::as_str);
                    pairs.extend(texts.map(|text| (name.clone(), syntax.write(text))));
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

/// The value of the field `name`, as JSON.
fn value(name: &str, text: &str) -> Result<Value, Error> {
    Ok(match name {
        "since" | "until" => match moment(text) {
            Ok(moment) => Value::from(moment.to_string()),
            Err(Error::InvalidQuery(what)) => return Err(refused(name, &what)),
            Err(other) => return Err(other),
        },
        "limit" => text.parse::<u16>().map_or(Value::from(text), Value::from),
        "sort" | "direction" => Value::from(text),
        _ => {
            let syntax = Syntax::of(name);
            let values = syntax.read(text).map_err(|what| refused(name, &what))?;
            match (syntax, values.into_iter().map(Value::from)) {
                (Syntax::Single, mut values) => values.next().unwrap_or_default(),
                (_, values) => values.collect(),
            }
        }
    })
}

/// The text of a list that [`AuditQuery::from_pairs`] reads as `value` alone.
#[cfg(feature = "explorer")]
pub(crate) fn exact(value: &str) -> String {
    Syntax::List.write(value)
}

pub(super) fn refused(name: &str, error: &impl std::fmt::Display) -> Error {
    Error::InvalidQuery(format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{AuditQuery, Direction, SortBy};
    use crate::record::{ActorKind, Outcome};

    #[test]
    fn a_list_is_read_from_commas_or_from_several_pairs() {
        let expected = AuditQuery::new()
            .action("patient.read")
            .action("patient.export")
            .actor_kind(ActorKind::User)
            .actor_kind(ActorKind::System);
        let commas = [
            ("action", "patient.read,patient.export"),
            ("actor_kind", "user, system"),
        ];
        assert_eq!(AuditQuery::from_pairs(commas).unwrap(), expected);
        let pairs = [
            ("action", "patient.read"),
            ("actor_kind", "user,system"),
            ("action", "patient.export"),
        ];
        assert_eq!(AuditQuery::from_pairs(pairs).unwrap(), expected);
    }

    #[test]
    fn a_query_survives_its_pairs() {
        let query = AuditQuery::new()
            .since("2026-10-01T00:00:00Z".parse().unwrap())
            .actor("ada & co, of *")
            .actor("bob\\")
            .actor_kind(ActorKind::User)
            .action("entry.*")
            .action("patient.read")
            .resource("entry", "7")
            .reason("ticket 1, *urgent*")
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
            ("actor", "dr.*"),
            ("action", "*.read"),
            ("reason", "ticket*"),
            ("actor_kind", "user,robot"),
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
        let twice = [("sort", "actor"), ("sort", "action")];
        let error = AuditQuery::from_pairs(twice).unwrap_err().to_string();
        assert!(error.contains("sort: it is there twice"), "{error}");
        assert!(AuditQuery::new().limit(0).page_size().is_err());
        assert!(AuditQuery::new().limit(1001).page_size().is_err());
    }
}
