//! The filter fields, and parsing of their values into a query.

use std::collections::BTreeSet;
use std::fmt;

use crate::error::Error;
use crate::query::AuditQuery;

/// Name, label and placeholder of the text fields.
pub(super) const TEXT_FIELDS: [(&str, &str, &str); 15] = [
    ("since", "From", "7d or 2026-11-23"),
    ("until", "Before", "2026-11-24"),
    ("actor", "Actor", "its id, exactly"),
    ("action", "Action", "entry.create or entry.*"),
    ("resource_type", "Resource type", "entry"),
    ("resource_id", "Resource id", ""),
    ("reason", "Reason contains", ""),
    ("tenant", "Tenant", ""),
    ("changed", "Changed field", "amount"),
    ("service", "Service", ""),
    ("client_address", "Client address", "192.0.2.7"),
    ("route", "Route", "/entries/{id}"),
    ("request_id", "Request id", ""),
    ("trace_id", "Trace id", "32 hexadecimal digits"),
    ("record_id", "Record id", ""),
];
/// How many of [`TEXT_FIELDS`] are always visible; the others are behind “More filters”.
pub(super) const VISIBLE_FIELDS: usize = 7;
/// Name, label and options of the choice fields. The empty option means any value, or the default.
pub(super) const CHOICES: [(&str, &str, &[&str]); 4] = [
    ("actor_kind", "Kind of actor", &KINDS),
    ("method", "Method", &METHODS),
    ("sort", "Sort by", &SORTS),
    ("direction", "Direction", &["", "descending", "ascending"]),
];
const KINDS: [&str; 5] = ["", "user", "service", "system", "anonymous"];
const METHODS: [&str; 8] = ["", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "QUERY"];
const SORTS: [&str; 17] = [
    "",
    "recorded_at",
    "occurred_at",
    "actor",
    "action",
    "resource_type",
    "resource_id",
    "outcome",
    "status",
    "tenant",
    "service",
    "client_address",
    "method",
    "route",
    "request_id",
    "trace_id",
    "reason",
];
pub(super) const OUTCOMES: [&str; 6] = [
    "success",
    "denied",
    "invalid",
    "failed",
    "panicked",
    "timed_out",
];
pub(super) const LIMIT: (&str, &str) = ("limit", "Records a page");
/// Maximum length of a value, in bytes: longer ones would not fit into the record of the read.
const MAX_VALUE_BYTES: usize = 4 * 1024;
/// Maximum number of unknown names in an error, and of characters of each name or value.
const MAX_NAMES: usize = 10;
const MAX_SHOWN_CHARS: usize = 120;

/// A field with an invalid value, and the reason.
#[derive(Debug, PartialEq)]
pub(super) struct FieldError {
    /// The field's name; empty if the error belongs to no field of the form.
    pub(super) name: String,
    pub(super) why: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match label(&self.name) {
            Some(label) => write!(f, "{label}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// The label of a field.
pub(super) fn label(name: &str) -> Option<&'static str> {
    let texts = TEXT_FIELDS.iter().map(|(name, label, _)| (*name, *label));
    let choices = CHOICES.iter().map(|(name, label, _)| (*name, *label));
    let mut labels = texts.chain(choices).chain([("outcome", "Outcome"), LIMIT]);
    labels.find_map(|(it, label)| (it == name).then_some(label))
}

/// The filters that take a single value.
const SINGLE_VALUED: [&str; 6] = ["since", "until", "reason", "sort", "direction", "limit"];

/// Parses names and values into a query, or returns all errors at once.
pub(super) fn query(pairs: &[(String, String)]) -> Result<AuditQuery, Vec<FieldError>> {
    let given = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.trim()));
    let given = given.filter(|(name, value)| *name != "cursor" && !value.is_empty());
    let given: Vec<_> = given.collect();
    let mut errors = Vec::new();
    let mut names = BTreeSet::new();
    let mut unknown = BTreeSet::new();
    for &(name, value) in &given {
        let is_first = names.insert(name);
        let why = if label(name).is_none() {
            unknown.insert(name);
            None
        } else if !is_first && SINGLE_VALUED.contains(&name) {
            Some("It is given twice: keep one value.".to_owned())
        } else {
            validate(name, value)
        };
        // One error for each field, however often it is given.
        if let Some(why) = why
            && !errors.iter().any(|it: &FieldError| it.name == name)
        {
            let name = name.to_owned();
            errors.push(FieldError { name, why });
        }
    }
    if !unknown.is_empty() {
        let more = if unknown.len() > MAX_NAMES {
            ", …"
        } else {
            ""
        };
        let unknown: Vec<_> = unknown.into_iter().take(MAX_NAMES).map(truncated).collect();
        let unknown = unknown.join(", ");
        let why = format!("There is no filter of this name: {unknown}{more}.");
        let name = String::new();
        errors.push(FieldError { name, why });
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let query = AuditQuery::from_pairs(given).map_err(|error| {
        let (name, why) = (String::new(), message(&error, ""));
        vec![FieldError { name, why }]
    })?;
    match (query.since, query.until) {
        (Some(since), Some(until)) if since >= until => {
            let name = "until".to_owned();
            let why =
                format!("{until} is not after {since}: name a time that is later than “From”.");
            Err(vec![FieldError { name, why }])
        }
        _ => Ok(query),
    }
}

/// Returns why a field's value is invalid, and what to write instead.
fn validate(name: &str, value: &str) -> Option<String> {
    if value.len() > MAX_VALUE_BYTES {
        let length = value.len();
        return Some(format!(
            "It has {length} bytes: write at most {MAX_VALUE_BYTES}, as in “ada”."
        ));
    }
    if value.contains('\0') {
        return Some("It has a NUL character, which no record contains: leave it out.".to_owned());
    }
    let shown = truncated(value);
    let error = match AuditQuery::from_pairs([(name, value)]) {
        Ok(query) if query.limit.is_none_or(|limit| (1..=1000).contains(&limit)) => return None,
        Ok(_) => None,
        Err(error) => Some(error),
    };
    let one_of = |words: &[&str]| {
        let named = words.iter().filter(|it| !it.is_empty());
        let named: Vec<_> = named.map(|word| readable(word)).collect();
        format!(
            "“{shown}” is not one of the options: take one of {}.",
            named.join(", ")
        )
    };
    let choice = CHOICES.iter().find(|(it, _, _)| *it == name);
    Some(match (name, choice) {
        ("limit", _) => {
            format!("“{shown}” is not a number from 1 to 1000: write one, such as 100.")
        }
        ("record_id", _) => format!(
            "“{shown}” is not a record's id: write 32 hexadecimal digits, such as 0198c0de-7a1b-7000-8000-000000000001."
        ),
        ("outcome", _) => one_of(&OUTCOMES),
        (_, Some((_, _, words))) => one_of(words),
        _ => {
            let why = error.map_or_else(String::new, |error| message(&error, name));
            format!("“{shown}” is not understood: {why}.")
        }
    })
}

/// An option as the form shows it.
pub(super) fn readable(word: &str) -> String {
    word.replace('_', " ")
}

fn truncated(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The query's error message without the field's name.
fn message(error: &Error, name: &str) -> String {
    let Error::InvalidQuery(what) = error else {
        return error.to_string();
    };
    let what = what.strip_prefix(name).unwrap_or(what);
    what.strip_prefix(": ").unwrap_or(what).to_owned()
}

/// The query with the form's labels, for the printed page.
pub(super) fn labelled_values(query: &AuditQuery) -> Vec<(&'static str, String)> {
    let pairs = query.to_pairs().into_iter();
    pairs
        .filter_map(|(name, value)| Some((label(&name)?, value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{OUTCOMES, label, labelled_values, query};
    use crate::query::AuditQuery;

    fn errors(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = pairs
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let errors = query(&owned.collect::<Vec<_>>()).unwrap_err();
        errors.into_iter().map(|it| (it.name, it.why)).collect()
    }

    #[test]
    fn all_invalid_fields_are_reported_at_once_with_a_remedy() {
        let wrong = [
            ("since", "soon", "7d"),
            ("limit", "99999", "from 1 to 1000: write one, such as 100"),
            ("record_id", "7", "such as 0198c0de"),
            ("actor_kind", "robot", "user, service, system, anonymous"),
            ("sort", "amount", "recorded at, occurred at"),
            ("direction", "up", "descending, ascending"),
            ("outcome", "fine", "success, denied"),
            ("reason", &"x".repeat(5000), "at most 4096"),
            ("tenant", "a\0b", "NUL"),
        ];
        let pairs = wrong.map(|(name, value, _)| (name, value));
        let errors = errors(&pairs);
        assert_eq!(errors.len(), wrong.len(), "{errors:?}");
        for ((name, why), (expected, _, text)) in errors.iter().zip(wrong) {
            assert_eq!(name, expected);
            assert!(why.contains(text), "{name}: {why}");
            assert!(!why.contains(name) || *name == "outcome", "{name}: {why}");
        }
    }

    #[test]
    fn an_invalid_limit_is_reported_at_its_field() {
        for limit in ["0", "1001", "-1", "1e3", "many", "99999"] {
            let errors = errors(&[("limit", limit)]);
            assert_eq!(errors[0].0, "limit", "{limit}");
        }
        assert!(query(&[("limit".to_owned(), " 1000 ".to_owned())]).is_ok());
    }

    #[test]
    fn an_empty_period_is_reported_at_its_end() {
        let errors = errors(&[("since", "2026-11-02"), ("until", "2026-11-02")]);
        assert_eq!(errors[0].0, "until");
    }

    #[test]
    fn many_invalid_names_and_values_are_reported_once_each() {
        let pairs: Vec<_> = (0..10_000).map(|_| ("limit", "x")).collect();
        assert_eq!(errors(&pairs).len(), 1);
        let names: Vec<_> = (0..10_000).map(|n| n.to_string()).collect();
        let pairs: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
        assert_eq!(errors(&pairs).len(), 1);
        // A name that the form does not show must not filter.
        let alias = errors(&[("written_by", "billing")]);
        assert!(alias[0].1.contains("written_by"), "{alias:?}");
    }

    #[test]
    fn each_field_of_a_query_has_a_label_and_each_outcome_a_checkbox() {
        let mut query = AuditQuery::new();
        for outcome in OUTCOMES {
            let outcome = serde_json::from_value(Value::from(outcome)).unwrap();
            query = query.outcome(outcome);
        }
        let mut fields = serde_json::to_value(&query).unwrap();
        for name in [
            "actor",
            "action",
            "resource_type",
            "resource_id",
            "tenant",
            "service",
            "client_address",
            "method",
            "route",
            "request_id",
            "trace_id",
            "changed",
        ] {
            fields[name] = json!(["x"]);
        }
        fields["reason"] = json!("x");
        fields["since"] = json!("2026-11-01T00:00:00Z");
        fields["until"] = json!("2026-11-02T00:00:00Z");
        fields["actor_kind"] = json!(["user"]);
        fields["record_id"] = json!([uuid::Uuid::nil()]);
        fields["sort"] = json!("actor");
        fields["direction"] = json!("ascending");
        fields["limit"] = json!(7);
        let query: AuditQuery = serde_json::from_value(fields).unwrap();
        let pairs = query.to_pairs();
        for (name, _) in &pairs {
            assert!(label(name).is_some(), "{name}");
        }
        assert_eq!(labelled_values(&query).len(), pairs.len());
    }
}
