//! Records cannot be changed.

use super::*;

/// Asserts that the append-only triggers refuse `statement`, and returns the error message.
async fn assert_refused(service: &Service, statement: &str) -> String {
    let statement = statement.replace("RECORD", RECORD);
    let done = sqlx::raw_sql(AssertSqlSafe(statement.clone()))
        .execute(&service.pool)
        .await;
    let error = done.expect_err(&format!("`{statement}` succeeded"));
    let message = error
        .as_database_error()
        .expect("the database refused it")
        .message()
        .to_owned();
    assert!(
        message.contains("append-only"),
        "`{statement}` was refused for another reason: {message}"
    );
    message
}

#[tokio::test]
async fn a_record_cannot_be_updated_or_deleted() {
    let service = Service::start().await;
    service.send("/entries", &Entry::new(1)).await;
    let before = service.only_record().await;
    assert_refused(&service, "UPDATE RECORD SET actor_id = 'eve'").await;
    assert_refused(&service, "UPDATE RECORD SET changes = changes").await;
    assert_refused(&service, "DELETE FROM RECORD").await;
    assert_eq!(service.only_record().await, before);
}

#[tokio::test]
async fn the_database_rejects_unknown_outcomes_and_actor_kinds() {
    let service = Service::start().await;
    service.send("/entries", &Entry::new(1)).await;
    for (column, value) in [("outcome", "'maybe'"), ("actor_kind", "'robot'")] {
        let columns = "id, xid, occurred_at, service, actor_kind, actor_id, action, outcome, status, trace_id";
        let kept: Vec<_> = columns
            .split(", ")
            .map(|name| match name {
                name if name == column => value.to_owned(),
                "id" => "'01a207a5-9697-75ae-abc0-3ec73dba4e71'".to_owned(),
                "trace_id" => "NULL".to_owned(),
                name => name.to_owned(),
            })
            .collect();
        let statement = format!(
            "INSERT INTO {RECORD} ({columns}) SELECT {} FROM {RECORD}",
            kept.join(", ")
        )
        .replace(
            "'01a207a5-9697-75ae-abc0-3ec73dba4e71'",
            if RECORD.contains('.') {
                "'01a207a5-9697-75ae-abc0-3ec73dba4e71'::uuid"
            } else {
                "'01a207a5-9697-75ae-abc0-3ec73dba4e71'"
            },
        );
        let error = sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&service.pool)
            .await
            .expect_err(column);
        let error = error
            .into_database_error()
            .expect("the database refused it");
        assert!(error.is_check_violation(), "{column}: {error}");
    }
}
