//! The filters, and the query that their values make.

use std::collections::BTreeSet;
use std::fmt;

use crate::error::Error;
use crate::query::AuditQuery;

/// Name, label and hint of the fields that take text.
pub(super) const TEXTS: [(&str, &str, &str); 15] = [
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
/// How many of them are always shown.
pub(super) const FIRST: usize = 7;
/// Name, label and words of the fields that offer a choice. The empty word means any, or the default.
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
/// The length of the longest value, in bytes: the record of the reading holds no longer one.
const LONGEST: usize = 4 * 1024;
/// How many unknown names an error lists, and how many characters of each name or value.
const NAMES: usize = 10;
const SHOWN: usize = 120;

/// A field whose value is refused, and why.
#[derive(Debug, PartialEq)]
pub(super) struct Refused {
    /// The field's name; empty if no field of the form is to blame.
    pub(super) name: String,
    pub(super) why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match label(&self.name) {
            Some(label) => write!(f, "{label}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// What the form calls the field.
pub(super) fn label(name: &str) -> Option<&'static str> {
    let texts = TEXTS.iter().map(|(name, label, _)| (*name, *label));
    let choices = CHOICES.iter().map(|(name, label, _)| (*name, *label));
    let mut labels = texts.chain(choices).chain([("outcome", "Outcome"), LIMIT]);
    labels.find_map(|(it, label)| (it == name).then_some(label))
}

/// The filters that take one value; the others take several.
const SINGLE: [&str; 6] = ["since", "until", "reason", "sort", "direction", "limit"];

/// The query that these names and values make, or all that is wrong with them.
pub(super) fn query(pairs: &[(String, String)]) -> Result<AuditQuery, Vec<Refused>> {
    let given = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.trim()));
    let given = given.filter(|(name, value)| *name != "cursor" && !value.is_empty());
    let given: Vec<_> = given.collect();
    let mut refused = Vec::new();
    let mut names = BTreeSet::new();
    let mut unknown = BTreeSet::new();
    for &(name, value) in &given {
        let is_first = names.insert(name);
        let why = if label(name).is_none() {
            unknown.insert(name);
            None
        } else if !is_first && SINGLE.contains(&name) {
            Some("It is there twice: keep one value.".to_owned())
        } else {
            objection(name, value)
        };
        // One for each field, however often it is there.
        if let Some(why) = why
            && !refused.iter().any(|it: &Refused| it.name == name)
        {
            let name = name.to_owned();
            refused.push(Refused { name, why });
        }
    }
    if !unknown.is_empty() {
        let more = if unknown.len() > NAMES { ", …" } else { "" };
        let unknown: Vec<_> = unknown.into_iter().take(NAMES).map(shortened).collect();
        let unknown = unknown.join(", ");
        let why = format!("There is no filter of this name: {unknown}{more}.");
        let name = String::new();
        refused.push(Refused { name, why });
    }
    if !refused.is_empty() {
        return Err(refused);
    }
    let query = AuditQuery::from_pairs(given).map_err(|error| {
        let (name, why) = (String::new(), reason(&error, ""));
        vec![Refused { name, why }]
    })?;
    match (query.since, query.until) {
        (Some(since), Some(until)) if since >= until => {
            let name = "until".to_owned();
            let why =
                format!("{until} is not after {since}: name a time that is later than “From”.");
            Err(vec![Refused { name, why }])
        }
        _ => Ok(query),
    }
}

/// What is wrong with the value of one field, and what to write instead.
fn objection(name: &str, value: &str) -> Option<String> {
    if value.len() > LONGEST {
        let length = value.len();
        return Some(format!(
            "It has {length} bytes: write at most {LONGEST}, as in “ada”."
        ));
    }
    if value.contains('\0') {
        return Some("It has a NUL character, which no record has: leave it out.".to_owned());
    }
    let shown = shortened(value);
    let error = match AuditQuery::from_pairs([(name, value)]) {
        Ok(query) if query.limit.is_none_or(|limit| (1..=1000).contains(&limit)) => return None,
        Ok(_) => None,
        Err(error) => Some(error),
    };
    let one_of = |words: &[&str]| {
        let named = words.iter().filter(|it| !it.is_empty());
        let named: Vec<_> = named.map(|word| in_plain(word)).collect();
        format!("“{shown}” is no choice: take one of {}.", named.join(", "))
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
            let why = error.map_or_else(String::new, |error| reason(&error, name));
            format!("“{shown}” is not understood: {why}.")
        }
    })
}

/// A word of the query as the form shows it.
pub(super) fn in_plain(word: &str) -> String {
    word.replace('_', " ")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// What the query says, without the name that it has for the field.
fn reason(error: &Error, name: &str) -> String {
    let Error::InvalidQuery(what) = error else {
        return error.to_string();
    };
    let what = what.strip_prefix(name).unwrap_or(what);
    what.strip_prefix(": ").unwrap_or(what).to_owned()
}

/// The query in the form's words, for a reader who does not see the form.
pub(super) fn in_words(query: &AuditQuery) -> Vec<(&'static str, String)> {
    let pairs = query.to_pairs().into_iter();
    pairs
        .filter_map(|(name, value)| Some((label(&name)?, value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{OUTCOMES, in_words, label, query};
    use crate::query::AuditQuery;

    fn refused(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = pairs
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let refused = query(&owned.collect::<Vec<_>>()).unwrap_err();
        refused.into_iter().map(|it| (it.name, it.why)).collect()
    }

    #[test]
    fn all_wrong_fields_are_refused_at_once_with_what_to_write() {
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
        let refused = refused(&pairs);
        assert_eq!(refused.len(), wrong.len(), "{refused:?}");
        for ((name, why), (expected, _, text)) in refused.iter().zip(wrong) {
            assert_eq!(name, expected);
            assert!(why.contains(text), "{name}: {why}");
            assert!(!why.contains(name) || *name == "outcome", "{name}: {why}");
        }
    }

    #[test]
    fn a_limit_that_the_query_refuses_is_refused_at_its_field() {
        for limit in ["0", "1001", "-1", "1e3", "many", "99999"] {
            let refused = refused(&[("limit", limit)]);
            assert_eq!(refused[0].0, "limit", "{limit}");
        }
        assert!(query(&[("limit".to_owned(), " 1000 ".to_owned())]).is_ok());
    }

    #[test]
    fn a_period_without_a_moment_is_refused_at_its_end() {
        let refused = refused(&[("since", "2026-11-02"), ("until", "2026-11-02")]);
        assert_eq!(refused[0].0, "until");
    }

    #[test]
    fn many_wrong_names_and_values_make_few_errors() {
        let pairs: Vec<_> = (0..10_000).map(|_| ("limit", "x")).collect();
        assert_eq!(refused(&pairs).len(), 1);
        let names: Vec<_> = (0..10_000).map(|n| n.to_string()).collect();
        let pairs: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
        assert_eq!(refused(&pairs).len(), 1);
        // What the form does not show must not filter.
        let alias = refused(&[("written_by", "billing")]);
        assert!(alias[0].1.contains("written_by"), "{alias:?}");
    }

    #[test]
    fn each_field_of_a_query_has_a_label_and_each_outcome_a_box() {
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
        assert_eq!(in_words(&query).len(), pairs.len());
    }
}
