//! The audit layer: no success response to a state change without its audit record.
//!
//! Add it with `.layer(audit.layer())` **inside** the telemetry layer, so that records carry the
//! request's trace id, and outside all layers that may reject a request (body limits, timeouts,
//! authentication), so that rejections are recorded, too.
//!
//! | the request ends with | and the audited handler | the layer |
//! |---|---|---|
//! | success, unsafe method | committed its record | passes the response on |
//! | success, unsafe method | never ran, or did not commit | responds 500, emits an ERROR event, adds 1 to `audit.violations` |
//! | success, unsafe method | is exempt | passes it on |
//! | failure | rolled back and recorded the attempt | passes it on |
//! | failure, or a redirect | never ran: one of its extractors rejected the request | records the attempt, passes it on |
//! | failure, unsafe method | never ran: a layer rejected the request, on a route of [`routing`](crate::routing) | records the attempt, passes it on |
//! | 404 or 405 | does not exist | passes it on |
//! | safe method | is not audited | passes it on |
//!
//! If a request has a record, the response contains its id in `Audit-Record-Id`. Failures of
//! anonymous clients are recorded one by one up to a
//! [limit](crate::AuditBuilder::anonymous_attempts), and counted beyond it. With
//! [`observe_only`](crate::AuditBuilder::observe_only) the layer reports violations and passes the
//! responses on.

mod audit_layer;
mod decision;
mod future;
mod service;

pub use audit_layer::AuditLayer;
pub use future::AuditFuture;
pub use service::AuditService;
