/// Makes an entry.
#[audited(
    action = "ledger.entry.create",
    resource = "entry",
    resource_id = format!("{book}/{}", new.id),
    reason = "required",
    actor = "optional",
    read,
    crate_path = crate::audit,
)]
pub(crate) async fn create_entry(
    tx: &mut AuditTx,
    State(state): State<App>,
    Path((ref book, _page)): Path<(String, u32)>,
    Json(mut new @ NewEntry { .. }): Json<NewEntry>,
) -> Result<(StatusCode, Json<Entry>), ApiError> {
    body()
}
