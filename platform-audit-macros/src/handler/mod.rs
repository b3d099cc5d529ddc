//! What `#[audited]` and `#[audit_exempt]` share: an axum handler, read and wrapped.

mod attributes;
mod item;
mod parameters;
mod wrapper;

pub(crate) use item::Handler;
pub(crate) use parameters::Role;
pub(crate) use wrapper::Wrapper;
