#[doc(hidden)]
#[derive(::core::fmt::Debug)]
struct __audited_create_entry;
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
async fn create_entry(
    __audit_call: ::platform_audit::__private::Call<__audited_create_entry>,
    __arg1: Json<NewEntry>,
) -> ::platform_audit::Audited<__audited_create_entry> {
    async fn create_entry(
        tx: &mut AuditTx,
        Json(new): Json<NewEntry>,
    ) -> Result<Json<Entry>, ApiError> {
        insert(tx, new).await
    }
    let __resource_id = ::core::option::Option::None;
    ::platform_audit::__private::run(
            __audit_call,
            __resource_id,
            move |__tx| ::std::boxed::Box::pin(create_entry(__tx, __arg1)),
        )
        .await
}
