//! Items that the macros' expansions use. Not covered by semantic versioning.

pub use crate::action::{ActionSpec, AuditedAction, ExemptAction};
pub use crate::auditable::{
    ContainsResources, FieldValue as Value, Fields, Probe, ViaResources, ViaSerialize,
};
pub use crate::handler::{Call, exempt, run, run_read};
pub use axum::response::IntoResponse;

/// Converts a field to a `FieldValue`, and preserves the redactions of nested resources.
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
