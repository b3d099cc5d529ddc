#[audited(action = "entry.create")]
async fn create_entry(tx: &mut AuditTx, Json(new): Json<NewEntry>) -> Result<Json<Entry>, ApiError> {
    insert(tx, new).await
}
