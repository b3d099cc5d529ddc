//! The action or exemption of a handler, and the catalogue of a router's routes.

use http::Method;
use serde::Serialize;

/// The options of a handler's `#[audited]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionSpec {
    /// The action, as `noun.verb`.
    pub action: &'static str,
    /// The type of the resource.
    pub resource: Option<&'static str>,
    /// Whether the request must have an `Audit-Reason` header.
    pub reason_required: bool,
    /// Whether requests without an actor are allowed.
    pub actor_optional: bool,
    /// Whether the handler only reads.
    pub read: bool,
}

/// Implemented by the marker type of an audited handler.
pub trait AuditedAction: Send + Sync + 'static {
    /// The options of `#[audited]`.
    const SPEC: ActionSpec;
}

/// Implemented by the marker type of an exempt handler.
pub trait ExemptAction: Send + Sync + 'static {
    /// Why the handler needs no record.
    const REASON: &'static str;
}

/// The trait that the routing functions require of a handler's return type.
#[diagnostic::on_unimplemented(
    message = "this handler may change state, but it is neither audited nor exempt",
    label = "not audited",
    note = "write `#[audited(action = \"noun.verb\")]` above the handler and take `tx: &mut AuditTx` for its changes",
    note = "or, if it changes nothing that needs a record, write `#[audit_exempt(reason = \"…\")]` above it"
)]
pub trait Declares {
    #[doc(hidden)]
    const DECLARATION: Declaration;
}

/// A handler's action, or the reason for its exemption.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Declaration {
    Audited(ActionSpec),
    Exempt(&'static str),
}

/// The state-changing routes of a [`Router`](crate::routing::Router). Compare it with `openapi.yaml`
/// in a test, or give it to an auditor. It serialises to a list of entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Catalogue {
    entries: Vec<CatalogueEntry>,
}

/// One method of a route in the [`Catalogue`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CatalogueEntry {
    /// The method, or `*` for a handler of any method.
    pub method: String,
    /// The path as passed to the router, such as `/entries/{id}`.
    pub path: String,
    /// The handler's action or exemption.
    #[serde(flatten)]
    pub requirement: Requirement,
}

/// Whether a handler writes a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Requirement {
    /// It writes a record with this action.
    #[serde(rename = "action", serialize_with = "action_name")]
    Audited(ActionSpec),
    /// It writes no record, for this reason.
    #[serde(rename = "exempt")]
    Exempt(&'static str),
}

fn action_name<S: serde::Serializer>(spec: &ActionSpec, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(spec.action)
}

/// The method of an entry whose handler accepts any method.
pub(crate) const ANY_METHOD: &str = "*";

impl Catalogue {
    /// Iterates over the entries, in the order in which the routes were added.
    pub fn iter(&self) -> impl Iterator<Item = &CatalogueEntry> {
        self.entries.iter()
    }

    /// Finds the entry for a request's method and its route's path.
    pub fn find(&self, method: &Method, path: &str) -> Option<&CatalogueEntry> {
        let find = |name: &str| {
            self.entries
                .iter()
                .find(|entry| entry.method == name && entry.path == path)
        };
        find(method.as_str()).or_else(|| find(ANY_METHOD))
    }

    pub(crate) fn add(&mut self, path: &str, handlers: &[DeclaredMethod]) {
        for handler in handlers {
            let requirement = match handler.declaration {
                Declaration::Audited(spec) => Requirement::Audited(spec),
                Declaration::Exempt(reason) => Requirement::Exempt(reason),
            };
            self.entries.push(CatalogueEntry {
                method: handler.method.to_owned(),
                path: path.to_owned(),
                requirement,
            });
        }
    }

    /// Appends another router's entries under `prefix`.
    pub(crate) fn extend(&mut self, other: Self, prefix: &str) {
        let trimmed = prefix.trim_end_matches('/');
        for mut entry in other.entries {
            entry.path = match entry.path.as_str() {
                // axum serves a nested `/` at exactly the prefix, which may end with a slash.
                "/" if !trimmed.is_empty() => prefix.to_owned(),
                path => format!("{trimmed}{path}"),
            };
            self.entries.push(entry);
        }
    }
}

/// A handler's method, or `*`, and its declaration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeclaredMethod {
    pub(crate) method: &'static str,
    pub(crate) declaration: Declaration,
}

impl CatalogueEntry {
    /// Returns the action, or `None` if the handler is exempt.
    pub fn action(&self) -> Option<&'static str> {
        match &self.requirement {
            Requirement::Audited(spec) => Some(spec.action),
            Requirement::Exempt(_) => None,
        }
    }
}
