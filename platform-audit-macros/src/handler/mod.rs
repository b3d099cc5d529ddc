//! Parses and wraps axum handlers, for `#[audited]` and `#[audit_exempt]`.

mod attributes;
mod item;
mod parameters;
mod wrapper;

pub(crate) use item::Handler;
pub(crate) use parameters::Role;
pub(crate) use wrapper::Wrapper;
