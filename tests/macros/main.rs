//! What `#[audited]`, `#[audit_exempt]` and `#[derive(Auditable)]` emit, compiled and run.

mod hygiene;
mod redaction;
mod stacking;
