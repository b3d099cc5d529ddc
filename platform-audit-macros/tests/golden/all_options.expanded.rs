#[doc(hidden)]
#[derive(::core::fmt::Debug)]
pub(crate) struct __audited_create_entry;
#[automatically_derived]
impl crate::audit::__private::AuditedAction for __audited_create_entry {
    const SPEC: crate::audit::__private::ActionSpec = crate::audit::__private::ActionSpec {
        action: "ledger.entry.create",
        resource: ::core::option::Option::Some("entry"),
        reason_required: true,
        actor_optional: true,
        read: true,
    };
}
/// Makes an entry.
pub(crate) async fn create_entry(
    __audit_call: crate::audit::__private::Call<__audited_create_entry>,
    __arg1: State<App>,
    __arg2: Path<(String, u32)>,
    __arg3: Json<NewEntry>,
) -> crate::audit::Audited<__audited_create_entry> {
    #[allow(clippy::unused_async)]
    async fn create_entry(
        tx: &mut AuditTx,
        State(state): State<App>,
        Path((ref book, _page)): Path<(String, u32)>,
        Json(mut new @ NewEntry { .. }): Json<NewEntry>,
    ) -> Result<(StatusCode, Json<Entry>), ApiError> {
        body()
    }
    let __resource_id = {
        let Path((book, _page)) = &__arg2;
        let _ = (&book, &_page);
        let Json(new @ NewEntry { .. }) = &__arg3;
        let _ = (&new,);
        ::core::option::Option::Some(
            ::std::string::ToString::to_string(&(format!("{book}/{}", new.id))),
        )
    };
    crate::audit::__private::run(
            __audit_call,
            __resource_id,
            move |__tx| ::std::boxed::Box::pin(
                create_entry(__tx, __arg1, __arg2, __arg3),
            ),
        )
        .await
}
