//! What the macros' code calls. Not covered by semantic versioning: use the macros.

pub use crate::action::{ActionSpec, AuditedAction, ExemptAction};
pub use crate::auditable::{
    FieldValue as Value, Fields, HoldsResources, Probe, ViaResources, ViaSerialize,
};
pub use crate::handler::{Call, exempt, run, run_read};
pub use axum::response::IntoResponse;

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
