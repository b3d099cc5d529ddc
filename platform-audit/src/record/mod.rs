//! The audit record: what is written, in which words, and how long each field may be.

mod action;
mod actor;
mod bounds;
mod builder;
mod change;
mod outcome;
mod stored;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

pub use action::InvalidAction;
pub(crate) use action::check as check_action;
pub use actor::{Actor, ActorKind};
pub(crate) use bounds::{Limit, bound_record};
pub use builder::RecordBuilder;
pub(crate) use builder::as_value;
pub use change::Change;
pub(crate) use change::{created, deleted, updated};
pub use outcome::Outcome;
pub(crate) use stored::{EARLIEST, Key, LATEST};

/// One row of the audit log: who did what to which resource, when, from where, why, and with
/// what outcome.
///
/// The fields answer PCI DSS 4.0 10.2.2, NIST SP 800-53 AU-3, OCSF API Activity (6003) and
/// Entity Management (3004) and FHIR AuditEvent; each field names the one that asks for it.
/// Text that is longer than its bound is cut at a character boundary, and the field's name is
/// added to [`cut`](Self::cut).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditRecord {
    /// UUID version 7, minted by the application; a client sees it as `Audit-Record-Id`.
    pub id: Uuid,
    /// The database transaction that holds the record: Postgres' `pg_current_xact_id()`, on
    /// SQLite the id of the unit of work. All records of one transaction share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xid: Option<String>,
    /// When the work began, by the application's clock (UTC, microseconds). PCI 10.2.2 date and time.
    pub occurred_at: Timestamp,
    /// When the record was written, by the database's clock (UTC, microseconds on Postgres,
    /// milliseconds on SQLite). `None` until it is read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<Timestamp>,
    /// The service that wrote it. NIST AU-3 source; OCSF `api.service.name`.
    pub service: String,
    /// That service's version, at most 100 bytes.
    pub service_version: Option<String>,
    /// Who did it. PCI 10.2.2 user identification; FHIR `agent`.
    #[serde(flatten)]
    pub actor: Actor,
    /// What was done, as `noun.verb`. PCI 10.2.2 type of event; OCSF `api.operation`.
    pub action: String,
    /// The kind of thing it was done to. PCI 10.2.2 affected resource; FHIR `entity.type`.
    pub resource_type: Option<String>,
    /// Which one, at most 256 bytes. FHIR `entity.what`.
    pub resource_id: Option<String>,
    /// How it ended. PCI 10.2.2 success or failure; OCSF `status`.
    pub outcome: Outcome,
    /// The HTTP status code the client was sent (100 to 999); `None` without a request.
    pub status: Option<u16>,
    /// A low-cardinality class of failure (OpenTelemetry `error.type`): a status code, or a
    /// word such as `panic`. `None` on success.
    pub error_type: Option<String>,
    /// Why it was done, in the actor's words, at most 1,024 bytes. EU GMP Annex 11 section 9.
    pub reason: Option<String>,
    /// The request's `x-request-id`, at most 128 bytes.
    pub request_id: Option<String>,
    /// The request's method. OCSF `http_request.http_method`.
    pub method: Option<String>,
    /// The route's template, such as `/entries/{id}` (OpenTelemetry `http.route`).
    pub route: Option<String>,
    /// The request's path without its query, which is never stored; at most 1,024 bytes.
    pub path: Option<String>,
    /// The peer's address. PCI 10.2.2 origination; OpenTelemetry `client.address`.
    pub client_address: Option<String>,
    /// The request's `User-Agent`, at most 512 bytes.
    pub user_agent: Option<String>,
    /// W3C trace id, 32 lower-case hexadecimal digits: joins the record to its trace.
    pub trace_id: Option<String>,
    /// W3C span id, 16 lower-case hexadecimal digits.
    pub span_id: Option<String>,
    /// What changed, by field; redacted fields say only that they changed. At most 64 KiB.
    pub changes: BTreeMap<String, Change>,
    /// What else the service wanted to keep, at most 16 KiB.
    pub details: Map<String, Value>,
    /// Names of the fields that are not as they were: longer than their bound and cut, the first of
    /// several headers, without a NUL that they held, or, read back, what is no such field and so is shown in `details`, under
    /// `[unreadable]`.
    pub cut: Vec<String>,
}
