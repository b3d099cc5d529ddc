/// Makes an entry.
#[cfg(feature = "entries")]
#[utoipa::path(post, path = "/entries")]
#[audited(action = "entry.create")]
#[tracing::instrument(skip_all, fields(new.id))]
#[axum::debug_handler]
#[expect(clippy::too_many_arguments)]
#[cfg_attr(feature = "spans", logfire::instrument(level = "debug"), deprecated)]
pub async fn create_entry(
    #[allow(unused_variables)] tx: &mut AuditTx,
    Json(new): Json<NewEntry>,
) -> StatusCode {
    #![allow(clippy::unit_arg)]
    StatusCode::CREATED
}
