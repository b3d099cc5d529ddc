//! The audit record, its field types, and their size limits.

mod action;
mod actor;
mod bounds;
mod builder;
mod change;
mod columns;
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
pub(crate) use bounds::bound_record;
pub use builder::RecordBuilder;
pub(crate) use builder::as_value;
pub use change::Change;
pub(crate) use change::{created, deleted, updated};
#[cfg(feature = "seal")]
pub(crate) use columns::Group;
pub(crate) use columns::{ACTOR_LIMIT, COLUMNS, Column, ColumnValue, Kind, Source, columns_from};
pub use outcome::Outcome;
pub(crate) use stored::{EARLIEST, Key, LATEST};

/// One row of the audit log: who did what to which resource, when, from where, why, and with
/// what outcome.
///
/// The fields cover PCI DSS 4.0 10.2.2, NIST SP 800-53 AU-3, OCSF API Activity (6003) and
/// Entity Management (3004), and FHIR AuditEvent; each field names the standard that requires it.
/// Text over its limit is truncated at a character boundary, and the field's name is added to
/// [`cut`](Self::cut).
///
/// ```
/// use platform_audit::{AuditRecord, Outcome};
///
/// let json = r#"{
///     "id": "01938f2c-7f6e-7d3c-8a2b-3c4d5e6f7a8b",
///     "occurred_at": "2026-11-28T09:30:00Z",
///     "service": "ledger",
///     "actor_kind": "user",
///     "actor_id": "ada",
///     "action": "entry.create",
///     "outcome": "success",
///     "status": 201,
///     "changes": { "amount": { "after": 10 } },
///     "details": {},
///     "cut": []
/// }"#;
/// let record: AuditRecord = serde_json::from_str(json)?;
/// assert_eq!(record.outcome, Outcome::Success);
/// assert_eq!(record.changes["amount"].after, Some(10.into()));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditRecord {
    /// A version 7 UUID that the application generates. Responses contain it as `Audit-Record-Id`.
    pub id: Uuid,
    /// The database transaction that wrote the record: Postgres' `pg_current_xact_id()`, on SQLite
    /// the id of the operation. All records of one transaction share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xid: Option<String>,
    /// When the operation began, by the application's clock (UTC, microseconds). PCI 10.2.2 date
    /// and time.
    pub occurred_at: Timestamp,
    /// When the record was written, by the database's clock (UTC, microseconds on Postgres,
    /// milliseconds on SQLite). `None` until the record is read from the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<Timestamp>,
    /// The service that wrote the record. NIST AU-3 source; OCSF `api.service.name`.
    pub service: String,
    /// The service's version, at most 100 bytes.
    pub service_version: Option<String>,
    /// Who performed the operation. PCI 10.2.2 user identification; FHIR `agent`.
    #[serde(flatten)]
    pub actor: Actor,
    /// What was done, as `noun.verb`, at most 100 bytes. PCI 10.2.2 type of event; OCSF
    /// `api.operation`.
    pub action: String,
    /// The type of the affected resource, at most 100 bytes. PCI 10.2.2 affected resource; FHIR
    /// `entity.type`.
    pub resource_type: Option<String>,
    /// The identifier of the affected resource, at most 256 bytes. FHIR `entity.what`.
    pub resource_id: Option<String>,
    /// How the operation ended. PCI 10.2.2 success or failure; OCSF `status`.
    pub outcome: Outcome,
    /// The response's HTTP status code (100 to 999); `None` without a request.
    pub status: Option<u16>,
    /// A low-cardinality class of failure (OpenTelemetry `error.type`), at most 100 bytes: a status
    /// code, or a word such as `panic`. `None` on success.
    pub error_type: Option<String>,
    /// The reason that the actor gave, at most 1,024 bytes. EU GMP Annex 11 section 9.
    pub reason: Option<String>,
    /// The request's `x-request-id`, at most 128 bytes.
    pub request_id: Option<String>,
    /// The request's method, at most 32 bytes. OCSF `http_request.http_method`.
    pub method: Option<String>,
    /// The route's template, such as `/entries/{id}` (OpenTelemetry `http.route`), at most 512
    /// bytes.
    pub route: Option<String>,
    /// The request's path, at most 1,024 bytes. The query string is never stored.
    pub path: Option<String>,
    /// The client's IP address, at most 64 bytes. PCI 10.2.2 origination; OpenTelemetry
    /// `client.address`.
    pub client_address: Option<String>,
    /// The request's `User-Agent`, at most 512 bytes.
    pub user_agent: Option<String>,
    /// The W3C trace id, 32 lower-case hexadecimal digits; links the record to its trace.
    pub trace_id: Option<String>,
    /// The W3C span id, 16 lower-case hexadecimal digits.
    pub span_id: Option<String>,
    /// The changed fields, at most 64 KiB of JSON. Values of redacted fields are replaced.
    pub changes: BTreeMap<String, Change>,
    /// Additional data that the service recorded, at most 16 KiB of JSON.
    pub details: Map<String, Value>,
    /// The names of the fields that differ from their original value. Either the value was over its
    /// limit and was truncated, or a NUL in it was replaced, or it is the first of several headers
    /// of that name. In a record read from the database, also the fields that could not be parsed:
    /// `details` contains their raw text under `[unreadable]`.
    pub cut: Vec<String>,
}
