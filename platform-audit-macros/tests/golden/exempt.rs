#[audit_exempt(reason = " only computes a preview ")]
#[tracing::instrument]
pub async fn preview<T: Preview>(State(s): State<T>, Json(new): Json<NewEntry>) -> impl IntoResponse {
    s.preview(new)
}
