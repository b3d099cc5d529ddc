//! Compiles and runs the expansions of `#[audited]`, `#[audit_exempt]` and `#[derive(Auditable)]`.

mod hygiene;
mod redaction;
mod stacking;
