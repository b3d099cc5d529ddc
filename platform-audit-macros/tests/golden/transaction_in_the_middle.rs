#[audited(action = "entry.move")]
async fn r#move(Path(id): Path<Uuid>, unit: &mut UnitOfWork<'_>, Json(to): Json<Target>) {
    unit.shift(id, to).await
}
