use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::list::Syntax;
use super::parse_time;
use crate::error::Error;
use crate::record::{ActorKind, Outcome};

/// Filters and sort order for audit records. The default matches all records, newest first.
///
/// Filters are combined with AND. The values of a list are combined with OR; a list has at most 100
/// values, and an empty list does not filter. Text is compared exactly and case-sensitively, except
/// where noted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AuditQuery {
    /// Inclusive start of the period (`recorded_at`, the database's clock).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Exclusive end of the period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The actor's id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actor: Vec<String>,
    /// The kind of actor.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actor_kind: Vec<ActorKind>,
    /// The action. With a trailing `*`, a prefix, such as `entry.*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub action: Vec<String>,
    /// The kind of resource.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_type: Vec<String>,
    /// The resource's id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_id: Vec<String>,
    /// The outcome.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outcome: Vec<Outcome>,
    /// The tenant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tenant: Vec<String>,
    /// The service that wrote the record. The command line calls it `--written-by`.
    #[serde(alias = "written_by", skip_serializing_if = "Vec::is_empty")]
    pub service: Vec<String>,
    /// The client's address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_address: Vec<String>,
    /// The request's method.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub method: Vec<String>,
    /// The route template, such as `/entries/{id}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<String>,
    /// The request's id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub request_id: Vec<String>,
    /// The trace id: 32 lower-case hexadecimal digits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trace_id: Vec<String>,
    /// The record's id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub record_id: Vec<Uuid>,
    /// The name of a changed field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// Substring of the reason, case-insensitive. Postgres folds case by the database's locale,
    /// SQLite only for ASCII letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The sort column. Ties are broken by time, then id.
    pub sort: SortBy,
    /// The sort direction.
    pub direction: Direction,
    /// Page size, from 1 to 1,000 records. The default is 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u16>,
}

/// The column to sort by. Missing values sort as if they were empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SortBy {
    /// When the record was written.
    #[default]
    RecordedAt,
    /// When the operation started.
    OccurredAt,
    /// The actor's id.
    Actor,
    /// The action.
    Action,
    /// The kind of resource.
    ResourceType,
    /// The resource's id.
    ResourceId,
    /// The outcome, alphabetically.
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

/// The sort direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Newest first, or Z to A.
    #[default]
    Descending,
    /// Oldest first, or A to Z.
    Ascending,
}

/// Declares builder methods that add a value to a list.
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
    /// A query for all records, newest first.
    pub fn new() -> Self {
        Self::default()
    }

    // Repeated calls add values, combined with OR.
    texts! {
        /// Matches this actor id. Repeated calls match any of the values.
        actor;
        /// Matches this action, or a prefix with a trailing `*`. Repeated calls match any of the
        /// values.
        action;
        /// Matches this resource type. Repeated calls match any of the values.
        resource_type;
        /// Matches this tenant. Repeated calls match any of the values.
        tenant;
        /// Matches records written by this service. Repeated calls match any of the values.
        service;
        /// Matches this client address. Repeated calls match any of the values.
        client_address;
        /// Matches this HTTP method. Repeated calls match any of the values.
        method;
        /// Matches this route template. Repeated calls match any of the values.
        route;
        /// Matches this request id. Repeated calls match any of the values.
        request_id;
        /// Matches this trace id. Repeated calls match any of the values.
        trace_id;
        /// Matches records that changed this field. Repeated calls match any of the values.
        changed;
    }

    /// Matches records whose reason contains `text`, ignoring case.
    #[must_use]
    pub fn reason(mut self, text: impl Into<String>) -> Self {
        self.reason = Some(text.into());
        self
    }

    /// Matches records recorded at or after `since`.
    #[must_use]
    pub fn since(mut self, since: Timestamp) -> Self {
        self.since = Some(since);
        self
    }

    /// Matches records recorded before `until`.
    #[must_use]
    pub fn until(mut self, until: Timestamp) -> Self {
        self.until = Some(until);
        self
    }

    /// Matches this kind of actor. Repeated calls match any of the values.
    #[must_use]
    pub fn actor_kind(mut self, kind: ActorKind) -> Self {
        if !self.actor_kind.contains(&kind) {
            self.actor_kind.push(kind);
        }
        self
    }

    /// Matches this resource only; replaces any that was set before.
    #[must_use]
    pub fn resource(mut self, resource_type: impl Into<String>, id: impl Into<String>) -> Self {
        self.resource_type = vec![resource_type.into()];
        self.resource_id = vec![id.into()];
        self
    }

    /// Matches this outcome. Repeated calls match any of the values.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        if !self.outcome.contains(&outcome) {
            self.outcome.push(outcome);
        }
        self
    }

    /// Matches the record with this id. Repeated calls match any of the values.
    #[must_use]
    pub fn record_id(mut self, id: Uuid) -> Self {
        if !self.record_id.contains(&id) {
            self.record_id.push(id);
        }
        self
    }

    /// Sets the sort column and direction.
    #[must_use]
    pub fn sort(mut self, by: SortBy, direction: Direction) -> Self {
        self.sort = by;
        self.direction = direction;
        self
    }

    /// Sets the page size, from 1 to 1,000 records.
    #[must_use]
    pub fn limit(mut self, records: u16) -> Self {
        self.limit = Some(records);
        self
    }

    /// Parses a query from name-value pairs, such as those of a URL or a form. Empty values are
    /// ignored.
    ///
    /// A list may be given as several pairs, as comma-separated values, or both; `\,` is a literal
    /// comma. `since` and `until` are parsed by [`parse_time`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidQuery`] if a name is unknown, a value is invalid, or a single-valued field
    /// is given twice. Also if a value contains a wildcard that the field does not support, such as
    /// the actor `dr.*`: matched literally, it would silently find nothing. `\*` is a literal star.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Error> {
        let mut fields = Map::new();
        for (name, text) in pairs.into_iter().filter(|(_, text)| !text.is_empty()) {
            let value = parse_value(name, text)?;
            // Parsed one at a time so that the error can name the field.
            let single_field = Map::from_iter([(name.to_owned(), value.clone())]);
            Self::from_fields(single_field).map_err(|error| field_error(name, &error))?;
            match (fields.get_mut(name), value) {
                (Some(Value::Array(values)), Value::Array(more)) => values.extend(more),
                (Some(_), _) => return Err(field_error(name, &"it is given twice")),
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

    /// Returns the name-value pairs that [`from_pairs`](Self::from_pairs) parses back into this
    /// query. Fields with default values are omitted.
    pub fn to_pairs(&self) -> Vec<(String, String)> {
        let Ok(Value::Object(fields)) = serde_json::to_value(self) else {
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for (name, value) in fields {
            let syntax = Syntax::for_field(&name);
            match value {
                Value::String(text) => pairs.push((name, syntax.escape(&text))),
                Value::Array(values) => {
                    let texts = values.iter().filter_map(Value::as_str);
                    pairs.extend(texts.map(|text| (name.clone(), syntax.escape(text))));
                }
                other => pairs.push((name, other.to_string())),
            }
        }
        let default = Self::default();
        pairs.retain(|(name, _)| match name.as_str() {
            "sort" => self.sort != default.sort,
            "direction" => self.direction != default.direction,
            _ => true,
        });
        pairs
    }

    pub(super) fn page_size(&self) -> Result<usize, Error> {
        match self.limit {
            None => Ok(100),
            Some(limit @ 1..=1000) => Ok(usize::from(limit)),
            Some(limit) => Err(Error::InvalidQuery(format!(
                "limit is {limit}: use a number from 1 to 1000, and page through the rest"
            ))),
        }
    }
}

/// Parses the value of the field `name` into JSON.
fn parse_value(name: &str, text: &str) -> Result<Value, Error> {
    Ok(match name {
        "since" | "until" => match parse_time(text) {
            Ok(time) => Value::from(time.to_string()),
            Err(Error::InvalidQuery(what)) => return Err(field_error(name, &what)),
            Err(other) => return Err(other),
        },
        "limit" => text.parse::<u16>().map_or(Value::from(text), Value::from),
        "sort" | "direction" => Value::from(text),
        _ => {
            let syntax = Syntax::for_field(name);
            let values = syntax
                .parse(text)
                .map_err(|what| field_error(name, &what))?;
            match (syntax, values.into_iter().map(Value::from)) {
                (Syntax::Single, mut values) => values.next().unwrap_or_default(),
                (_, values) => values.collect(),
            }
        }
    })
}

/// Escapes `value` so that [`AuditQuery::from_pairs`] parses it back as a single list value.
#[cfg(feature = "explorer")]
pub(crate) fn escape_value(value: &str) -> String {
    Syntax::List.escape(value)
}

pub(super) fn field_error(name: &str, error: &impl std::fmt::Display) -> Error {
    Error::InvalidQuery(format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{AuditQuery, Direction, SortBy};
    use crate::record::{ActorKind, Outcome};

    #[test]
    fn a_list_is_parsed_from_commas_or_from_repeated_pairs() {
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
    fn a_query_round_trips_through_pairs() {
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
    fn an_invalid_field_is_refused_and_the_error_names_it() {
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
        assert!(error.contains("sort: it is given twice"), "{error}");
        assert!(AuditQuery::new().limit(0).page_size().is_err());
        assert!(AuditQuery::new().limit(1001).page_size().is_err());
    }
}
