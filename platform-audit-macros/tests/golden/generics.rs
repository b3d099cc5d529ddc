#[audited(action = "entry.create")]
pub async fn create_entry<'t, S, DB: Database, const N: usize>(
    tx: &'t mut AuditTx<DB>,
    State(store): State<S>,
) -> Result<impl IntoResponse, ApiError>
where
    S: Store<DB> + Send + Sync + 'static,
{
    store.insert::<N>(tx).await
}
