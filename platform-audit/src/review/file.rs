use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::{Table, Value};

use super::{OfficeHours, Review};
use crate::error::Error;
use crate::query::{AuditQuery, GroupBy};

/// The error type for parsing reviews.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReviewError {
    /// The file is not TOML.
    #[error("the reviews are not TOML: {0}")]
    NotToml(String),
    /// The file contains no review.
    #[error(
        "there is no review in it: write a table for each, such as [denied] with outcome = \"denied\" and at_most = 0"
    )]
    Empty,
    /// A review is invalid.
    #[error("the review `{name}`: {what}")]
    Invalid {
        /// The review's name.
        name: String,
        /// Why the review is invalid, and how to correct it.
        what: String,
    },
}

impl Review {
    /// Parses all reviews of a TOML document, in its order. See the [module](super) for the format.
    ///
    /// # Errors
    ///
    /// [`ReviewError::NotToml`] if the document is not TOML; [`ReviewError::Empty`] if it contains
    /// no review; [`ReviewError::Invalid`] if a review is invalid.
    pub fn parse_all(document: &str) -> Result<Vec<Self>, ReviewError> {
        let tables: Table = document
            .parse()
            .map_err(|error: toml::de::Error| ReviewError::NotToml(error.to_string()))?;
        if tables.is_empty() {
            return Err(ReviewError::Empty);
        }
        tables
            .into_iter()
            .map(|(name, value)| {
                let read = match value {
                    Value::Table(table) => Self::parse_one(name.clone(), table),
                    _ => Err("a review is a table: write [name] above its lines".to_owned()),
                };
                read.map_err(|what| ReviewError::Invalid { name, what })
            })
            .collect()
    }

    fn parse_one(name: String, mut table: Table) -> Result<Self, String> {
        let description = take_field(&mut table, "description")?;
        let outside: Option<OfficeHours> = take_field(&mut table, "outside")?;
        let per: Option<GroupBy> = take_field(&mut table, "per")?;
        let at_least: Option<u64> = take_field(&mut table, "at_least")?;
        let at_most: Option<u64> = take_field(&mut table, "at_most")?;
        if at_least.is_none() && at_most.is_none() {
            return Err("it has no bound: write at_most = 0, or at_least = 1".to_owned());
        }
        let (least, most) = (at_least.unwrap_or(0), at_most.unwrap_or(u64::MAX));
        if least > most {
            return Err(format!(
                "at_least is {least} and at_most {most}: at_least must not exceed at_most"
            ));
        }
        if per.is_some() && at_least.is_some() {
            return Err("at_least cannot be combined with per: a value without any records would not be noticed; write a review for each value instead".to_owned());
        }
        if per.is_some() && outside.is_some() {
            return Err("per cannot be combined with outside: write two reviews".to_owned());
        }
        if let Some(hours) = &outside {
            hours
                .zone()
                .map_err(|error| format!("outside.time_zone: {error}"))?;
            if hours.days.is_empty() {
                return Err("outside.days is empty: name a day, such as \"monday\"".to_owned());
            }
        }
        Ok(Self {
            name,
            description,
            query: parse_query(&table)?,
            outside,
            per,
            at_least: least,
            at_most: most,
        })
    }
}

/// Removes and deserializes a field that belongs to the review, not to its query.
fn take_field<'de, T: Deserialize<'de>>(
    table: &mut Table,
    name: &str,
) -> Result<Option<T>, String> {
    let Some(value) = table.remove(name) else {
        return Ok(None);
    };
    T::deserialize(value.into_deserializer())
        .map(Some)
        .map_err(|error: toml::de::Error| format!("{name}: {}", error.message()))
}

fn is_single_valued(name: &str) -> bool {
    matches!(name, "since" | "until" | "reason")
}

/// Parses the remaining fields as query conditions: each a string or, except for a few, a list of
/// strings.
fn parse_query(table: &Table) -> Result<AuditQuery, String> {
    let mut pairs = Vec::new();
    for (name, value) in table {
        if matches!(name.as_str(), "sort" | "direction" | "limit") {
            return Err(format!("{name} does not apply to a review: remove it"));
        }
        let values = match value {
            Value::Array(values) if !is_single_valued(name) => values.as_slice(),
            other => std::slice::from_ref(other),
        };
        for value in values {
            let text = value.as_str().filter(|text| !text.is_empty());
            let text =
                text.ok_or_else(|| format!("{name} has to be a string: write {name} = \"…\""))?;
            pairs.push((name.as_str(), text));
        }
    }
    AuditQuery::from_pairs(pairs).map_err(|error| match error {
        Error::InvalidQuery(what) => what,
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::Review;

    #[test]
    fn an_invalid_review_is_refused_and_the_error_names_it() {
        for (text, expected) in [
            ("", "there is no review in it"),
            ("[a", "not TOML"),
            ("a = 1", "the review `a`: a review is a table"),
            (
                "[a]\noutcome = \"denied\"",
                "the review `a`: it has no bound",
            ),
            (
                "[a]\nactr = \"x\"\nat_most = 0",
                "the review `a`: actr: unknown field",
            ),
            (
                "[a]\nactor = 7\nat_most = 0",
                "the review `a`: actor has to be a string",
            ),
            (
                "[a]\naction = \"*.read\"\nat_most = 0",
                "the review `a`: action: `*.read` has a star",
            ),
            (
                "[a]\nactor = [\"ada\", \"dr.*\"]\nat_most = 0",
                "the review `a`: actor: `dr.*` is a pattern",
            ),
            (
                "[a]\nsince = [\"1d\", \"2d\"]\nat_most = 0",
                "the review `a`: since has to be a string",
            ),
            (
                "[a]\nactor = \"\"\nat_most = 0",
                "the review `a`: actor has to be a string",
            ),
            (
                "[a]\noutcome = \"refused\"\nat_most = 0",
                "the review `a`: outcome: unknown variant",
            ),
            (
                "[a]\nsince = \"soon\"\nat_most = 0",
                "the review `a`: since: write a duration",
            ),
            (
                "[a]\nat_most = -1",
                "the review `a`: at_most: invalid value",
            ),
            ("[a]\nat_least = 2\nat_most = 1", "must not exceed at_most"),
            ("[a]\nper = \"actor\"\nat_least = 1", "would not be noticed"),
            (
                "[a]\nper = \"colour\"\nat_most = 1",
                "the review `a`: per: unknown variant",
            ),
            (
                "[a]\nlimit = 5\nat_most = 1",
                "limit does not apply to a review",
            ),
            (
                "[a]\nat_most = 0\noutside = { from = \"8\", until = \"18:00\" }",
                "the review `a`: outside:",
            ),
            (
                "[a]\nat_most = 0\noutside = { from = \"08:00\", until = \"18:00\", time_zone = \"Mars/Base\" }",
                "outside.time_zone: ",
            ),
            (
                "[a]\nat_most = 0\noutside = { from = \"08:00\", until = \"18:00\", day = [] }",
                "unknown field `day`",
            ),
        ] {
            let error = Review::parse_all(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_example_of_the_documentation_parses() {
        let module = include_str!("mod.rs");
        let (_, example) = module.split_once("```toml\n").unwrap();
        let (example, _) = example.split_once("//! ```").unwrap();
        let example = example.replace("//! ", "").replace("//!", "");
        let reviews = Review::parse_all(&example).unwrap();
        let names: Vec<_> = reviews.iter().map(|it| it.name.as_str()).collect();
        let expected = [
            "denied-service-accounts",
            "erased-outside-office-hours",
            "curious",
            "backup",
        ];
        assert_eq!(names, expected);
    }
}
