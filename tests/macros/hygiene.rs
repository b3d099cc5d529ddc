//! The expansions use nothing from the surrounding scope: there is no prelude here, and the names
//! that they could use refer to other items.

#![no_implicit_prelude]
#![allow(dead_code)]

use ::axum::extract::State;
use ::axum::http::StatusCode;
use ::platform_audit::__private::{AuditedAction, ExemptAction};
use ::platform_audit::{AuditTx, Auditable};

mod std {}
mod core {}
mod platform_audit {}
struct Option;
struct Some;
struct None;
struct String;
struct Box;
struct Pin;
trait Future {}
trait ToString {}
trait IntoResponse {}
trait Debug {}

// Has the names of emitted items, in order to collide with them.
#[::platform_audit::audited(action = "entry.create", resource = "entry", resource_id = __arg1)]
async fn create_entry(
    __tx: &mut AuditTx,
    State(__arg1): State<u8>,
    ::axum::Json(__audit_call): ::axum::Json<u64>,
) -> StatusCode {
    let __resource_id = (__arg1, __audit_call);
    let _ = (__tx, __resource_id);
    StatusCode::CREATED
}

#[::platform_audit::audited(action = "entry.update")]
async fn update_entry<T>(
    tx: &mut AuditTx,
    State(state): State<T>,
) -> impl ::axum::response::IntoResponse
where
    T: ::core::marker::Send + ::core::marker::Sync + ::core::clone::Clone + 'static,
{
    let _ = (tx, state);
    StatusCode::OK
}

#[::platform_audit::audited(action = "entry.read", read)]
async fn read_entry() -> StatusCode {
    StatusCode::OK
}

#[::platform_audit::audit_exempt(reason = "stores nothing")]
async fn preview_entry() -> StatusCode {
    StatusCode::OK
}

#[derive(Auditable)]
#[audit(resource = "entry")]
struct Entry {
    #[audit(id)]
    id: u64,
    #[audit(redact)]
    fields: u8,
    __fields: u8,
}

#[test]
fn the_macros_work_without_a_prelude() {
    ::core::assert_eq!(__audited_create_entry::SPEC.action, "entry.create");
    ::core::assert_eq!(__audited_update_entry::SPEC.action, "entry.update");
    const { ::core::assert!(__audited_read_entry::SPEC.read) };
    ::core::assert_eq!(__audit_exempt_preview_entry::REASON, "stores nothing");
    let entry = Entry {
        id: 7,
        fields: 1,
        __fields: 2,
    };
    ::core::assert_eq!(entry.resource_id(), "7");

    let _: ::axum::Router<u8> = ::axum::Router::new()
        .route("/", ::axum::routing::post(create_entry))
        .route("/update", ::axum::routing::post(update_entry::<u8>))
        .route("/read", ::axum::routing::get(read_entry))
        .route("/preview", ::axum::routing::post(preview_entry));
}
