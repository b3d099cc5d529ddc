//! `#[audited]`, `#[audit_exempt]` and `#[derive(Auditable)]` for `platform-audit`.
