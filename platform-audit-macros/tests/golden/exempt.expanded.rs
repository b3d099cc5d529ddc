#[doc(hidden)]
#[derive(::core::fmt::Debug)]
pub struct __audit_exempt_preview;
#[automatically_derived]
impl ::platform_audit::__private::ExemptAction for __audit_exempt_preview {
    const REASON: &'static str = "only computes a preview";
}
pub async fn preview<T: Preview>(
    __arg0: State<T>,
    __arg1: Json<NewEntry>,
) -> ::platform_audit::Exempt<__audit_exempt_preview> {
    #[allow(clippy::unused_async)]
    #[tracing::instrument]
    async fn preview<T: Preview>(
        State(s): State<T>,
        Json(new): Json<NewEntry>,
    ) -> impl IntoResponse {
        s.preview(new)
    }
    ::platform_audit::__private::exempt(preview::<T>(__arg0, __arg1).await)
}
