#[audited(action = "entry.read", read, resource_id = id)]
async fn show_entry(Path(id): Path<Uuid>, State(pool): State<PgPool>) -> impl IntoResponse {
    Json(find(&pool, id).await)
}
