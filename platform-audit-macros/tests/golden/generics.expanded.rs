#[doc(hidden)]
#[derive(::core::fmt::Debug)]
pub struct __audited_create_entry;
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
#[allow(unused_lifetimes, clippy::extra_unused_lifetimes)]
pub async fn create_entry<'t, S, DB: Database, const N: usize>(
    __audit_call: ::platform_audit::__private::Call<__audited_create_entry>,
    __arg1: State<S>,
) -> ::platform_audit::Audited<__audited_create_entry>
where
    S: Store<DB> + Send + Sync + 'static,
{
    async fn create_entry<'t, S, DB: Database, const N: usize>(
        tx: &'t mut AuditTx<DB>,
        State(store): State<S>,
    ) -> Result<impl IntoResponse, ApiError>
    where
        S: Store<DB> + Send + Sync + 'static,
    {
        store.insert::<N>(tx).await
    }
    let __resource_id = ::core::option::Option::None;
    ::platform_audit::__private::run(
            __audit_call,
            __resource_id,
            move |__tx| ::std::boxed::Box::pin(async move {
                ::platform_audit::__private::IntoResponse::into_response(
                    create_entry::<S, DB, N>(__tx, __arg1).await,
                )
            }),
        )
        .await
}
