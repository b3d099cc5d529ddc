#[cfg(feature = "entries")]
#[doc(hidden)]
#[derive(::core::fmt::Debug)]
pub struct __audited_create_entry;
#[cfg(feature = "entries")]
#[automatically_derived]
impl ::platform_audit::__private::AuditedAction for __audited_create_entry {
    const SPEC: ::platform_audit::__private::ActionSpec = ::platform_audit::__private::ActionSpec {
        action: "entry.create",
        resource: ::core::option::Option::None,
        reason_required: false,
        actor_optional: false,
        read: false,
    };
}
/// Makes an entry.
#[cfg(feature = "entries")]
#[utoipa::path(post, path = "/entries")]
#[axum::debug_handler]
#[expect(clippy::too_many_arguments)]
#[cfg_attr(feature = "spans", deprecated)]
pub async fn create_entry(
    __audit_call: ::platform_audit::__private::Call<__audited_create_entry>,
    __arg1: Json<NewEntry>,
) -> ::platform_audit::Audited<__audited_create_entry> {
    #[allow(clippy::unused_async)]
    #[tracing::instrument(skip_all, fields(new.id))]
    #[cfg_attr(feature = "spans", logfire::instrument(level = "debug"))]
    async fn create_entry(
        #[allow(unused_variables)]
        tx: &mut AuditTx,
        Json(new): Json<NewEntry>,
    ) -> StatusCode {
        #![allow(clippy::unit_arg)]
        StatusCode::CREATED
    }
    let __resource_id = ::core::option::Option::None;
    ::platform_audit::__private::run(
            __audit_call,
            __resource_id,
            move |__tx| ::std::boxed::Box::pin(create_entry(__tx, __arg1)),
        )
        .await
}
