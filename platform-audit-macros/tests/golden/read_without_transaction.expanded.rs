#[doc(hidden)]
#[derive(::core::fmt::Debug)]
struct __audited_show_entry;
#[automatically_derived]
impl ::platform_audit::__private::AuditedAction for __audited_show_entry {
    const SPEC: ::platform_audit::__private::ActionSpec = ::platform_audit::__private::ActionSpec {
        action: "entry.read",
        resource: ::core::option::Option::None,
        reason_required: false,
        actor_optional: false,
        read: true,
    };
}
async fn show_entry(
    __audit_call: ::platform_audit::__private::Call<__audited_show_entry>,
    __arg0: Path<Uuid>,
    __arg1: State<PgPool>,
) -> ::platform_audit::Audited<__audited_show_entry> {
    async fn show_entry(
        Path(id): Path<Uuid>,
        State(pool): State<PgPool>,
    ) -> impl IntoResponse {
        Json(find(&pool, id).await)
    }
    let __resource_id = {
        let Path(id) = &__arg0;
        let _ = (&id,);
        ::core::option::Option::Some(::std::string::ToString::to_string(&(id)))
    };
    ::platform_audit::__private::run_read(
            __audit_call,
            __resource_id,
            move || ::std::boxed::Box::pin(show_entry(__arg0, __arg1)),
        )
        .await
}
