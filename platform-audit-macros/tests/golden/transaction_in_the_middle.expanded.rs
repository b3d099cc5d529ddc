#[doc(hidden)]
#[derive(::core::fmt::Debug)]
struct __audited_move;
#[automatically_derived]
impl ::platform_audit::__private::AuditedAction for __audited_move {
    const SPEC: ::platform_audit::__private::ActionSpec = ::platform_audit::__private::ActionSpec {
        action: "entry.move",
        resource: ::core::option::Option::None,
        reason_required: false,
        actor_optional: false,
        read: false,
    };
}
async fn r#move(
    __audit_call: ::platform_audit::__private::Call<__audited_move>,
    __arg0: Path<Uuid>,
    __arg2: Json<Target>,
) -> ::platform_audit::Audited<__audited_move> {
    async fn r#move(
        Path(id): Path<Uuid>,
        unit: &mut UnitOfWork<'_>,
        Json(to): Json<Target>,
    ) {
        unit.shift(id, to).await
    }
    let __resource_id = ::core::option::Option::None;
    ::platform_audit::__private::run(
            __audit_call,
            __resource_id,
            move |__tx| ::std::boxed::Box::pin(r#move(__arg0, __tx, __arg2)),
        )
        .await
}
