//! What a handler declares: its action or its exemption, and the catalogue of a router's routes.

use http::Method;
use serde::Serialize;

/// A handler's action, as `#[audited]` was given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionSpec {
    /// `noun.verb`.
    pub action: &'static str,
    /// The type of the resource.
    pub resource: Option<&'static str>,
    /// Whether `Audit-Reason` must be sent.
    pub reason_required: bool,
    /// Whether nobody known may do it.
    pub actor_optional: bool,
    /// Whether it reads only.
    pub read: bool,
}

/// Names a handler's action to the compiler.
pub trait AuditedAction: Send + Sync + 'static {
    /// What `#[audited]` was given.
    const SPEC: ActionSpec;
}

/// Names a handler's exemption to the compiler.
pub trait ExemptAction: Send + Sync + 'static {
    /// Why it needs no record.
    const REASON: &'static str;
}

/// What the routing functions ask of a handler's return type.
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

/// An action or the reason why there is none.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Declaration {
    Audited(ActionSpec),
    Exempt(&'static str),
}

/// Every state-changing route of a [`Router`](crate::routing::Router), for a test, a check against
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

    pub(crate) fn add(&mut self, path: &str, handlers: &[DeclaredMethod]) {
        for handler in handlers {
            let requirement = match handler.mark {
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

    /// Takes in another router's entries, under `prefix`.
    pub(crate) fn extend(&mut self, other: Self, prefix: &str) {
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
pub(crate) struct DeclaredMethod {
    pub(crate) method: &'static str,
    pub(crate) mark: Declaration,
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
