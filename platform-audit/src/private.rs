//! What the macros' code calls. Not covered by semantic versioning: use the macros.

pub use crate::auditable::{
    FieldValue as Value, Fields, HoldsResources, Probe, ViaResources, ViaSerialize,
};
pub use crate::handler::{Call, exempt, run, run_read};
pub use axum::response::IntoResponse;

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

/// A field's value, with the redactions of nested resources kept.
#[doc(hidden)]
#[macro_export]
macro_rules! __audit_value {
    ($field:expr) => {{
        #[allow(unused_imports)]
        use $crate::__private::{ViaResources as _, ViaSerialize as _};
        (&&$crate::__private::Probe($field)).audit_value()
    }};
}
pub use crate::__audit_value as value;
