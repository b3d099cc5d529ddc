use http::Method;
use serde::Serialize;

use crate::__private::ActionSpec;
use crate::handler::Mark;

/// Every state-changing route of a [`Router`](super::Router), for a test, a check against
/// `openapi.yaml`, and an auditor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Catalogue {
    entries: Vec<CatalogueEntry>,
}

/// One method of one route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CatalogueEntry {
    /// The method, or `*` for a handler of any method.
    pub method: String,
    /// The path as it was given to the router, such as `/entries/{id}`.
    pub path: String,
    /// What its handler leaves behind.
    #[serde(flatten)]
    pub requirement: Requirement,
}

/// Whether a handler leaves a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Requirement {
    /// It does, under this action.
    #[serde(rename = "action", serialize_with = "action_name")]
    Audited(ActionSpec),
    /// It does not, for this reason.
    #[serde(rename = "exempt")]
    Exempt(&'static str),
}

fn action_name<S: serde::Serializer>(spec: &ActionSpec, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(spec.action)
}

/// The method of an entry whose handler is for any.
pub(crate) const ANY: &str = "*";

impl Catalogue {
    /// The entries, in the order of their routes.
    pub fn iter(&self) -> impl Iterator<Item = &CatalogueEntry> {
        self.entries.iter()
    }

    /// The entry of a request's method and its route's path.
    pub fn find(&self, method: &Method, path: &str) -> Option<&CatalogueEntry> {
        let of = |name: &str| {
            self.entries
                .iter()
                .find(|entry| entry.method == name && entry.path == path)
        };
        of(method.as_str()).or_else(|| of(ANY))
    }

    pub(super) fn add(&mut self, path: &str, handlers: &[MarkedMethod]) {
        for handler in handlers {
            let requirement = match handler.mark {
                Mark::Audited(spec) => Requirement::Audited(spec),
                Mark::Exempt(reason) => Requirement::Exempt(reason),
            };
            self.entries.push(CatalogueEntry {
                method: handler.method.to_owned(),
                path: path.to_owned(),
                requirement,
            });
        }
    }

    /// Takes in another router's entries, under `prefix`.
    pub(super) fn extend(&mut self, other: Self, prefix: &str) {
        let bare = prefix.trim_end_matches('/');
        for mut entry in other.entries {
            entry.path = match entry.path.as_str() {
                // A nested `/` answers at the prefix itself, as it is written.
                "/" if !bare.is_empty() => prefix.to_owned(),
                path => format!("{bare}{path}"),
            };
            self.entries.push(entry);
        }
    }
}

/// A method that a handler is for, or `*`.
#[derive(Clone, Copy, Debug)]
pub(super) struct MarkedMethod {
    pub(super) method: &'static str,
    pub(super) mark: Mark,
}

impl CatalogueEntry {
    /// The action, unless the handler is exempt.
    pub fn action(&self) -> Option<&'static str> {
        match &self.requirement {
            Requirement::Audited(spec) => Some(spec.action),
            Requirement::Exempt(_) => None,
        }
    }
}
