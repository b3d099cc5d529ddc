//! The request guard: no successful answer to a state change without its audit record.
//!
//! Add it with `.layer(audit.layer())` **inside** the telemetry layer, so that records carry the
//! request's trace id, and outside everything that may refuse a request (body limits, time-outs,
//! authentication), so that those refusals are recorded too.
//!
//! | the request ends with | and the audited handler | the guard |
//! |---|---|---|
//! | success, unsafe method | committed its record | lets it pass |
//! | success, unsafe method | never ran, or did not commit | answers 500, an ERROR event, `audit.violations` + 1 |
//! | success, unsafe method | is exempt | lets it pass |
//! | failure | rolled back and recorded the attempt | lets it pass |
//! | failure, or a redirect | never ran: one of its extractors refused | records the attempt, lets it pass |
//! | failure, unsafe method | never ran: a layer refused, on a route of [`routing`](crate::routing) | records the attempt, lets it pass |
//! | 404 or 405 | there is none | lets it pass |
//! | safe method | is not audited | lets it pass |
//!
//! An answer that has a record names it in `Audit-Record-Id`. Failures of nobody known are recorded
//! one by one up to a [limit](crate::AuditBuilder::anonymous_attempts), and then counted. With
//! [`observe_only`](crate::AuditBuilder::observe_only) the guard reports and lets pass.

mod audit_layer;
mod decision;
mod future;
mod service;

pub use audit_layer::AuditLayer;
pub use future::AuditFuture;
pub use service::AuditService;
