//! Spans and durations of sqlx's statements, with real databases.

use platform_harness::database::TestDatabase;
use platform_observability::Database;
use platform_observability::testing::Capture;
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use tracing::Instrument;

const SECRET: &str = "DE02120300000000202051";

#[tokio::test]
async fn each_statement_of_postgres_is_a_span_below_its_caller() {
    let database = TestDatabase::postgres().await;
    let capture = Capture::with_database(&Database::postgresql().record_query_text());
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    async {
        connection
            .execute("CREATE TABLE entry (id int PRIMARY KEY, iban text)")
            .await
            .unwrap();
        let mut transaction = connection.begin().await.unwrap();
        sqlx::query("INSERT INTO entry (id, iban) VALUES ($1, $2)")
            .bind(7)
            .bind(SECRET)
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        // Two statements in one message, with a literal.
        let script = format!(
            "SET LOCAL statement_timeout = 1000; SELECT id FROM entry WHERE iban = '{SECRET}'"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(script))
            .execute(&mut connection)
            .await
            .unwrap();
        let again = sqlx::query("INSERT INTO entry (id) VALUES ($1)").bind(7);
        again.execute(&mut connection).await.unwrap_err();
    }
    .instrument(tracing::info_span!("caller"))
    .await;

    let caller = capture.span("caller");
    let spans = capture.spans();
    let spans = spans.iter().filter(|span| span.0.name != "caller");
    let mut names = Vec::new();
    for span in spans {
        assert_eq!(
            span.0.parent_span_id,
            caller.0.span_context.span_id(),
            "{span:#?}"
        );
        assert!(span.0.start_time >= caller.0.start_time);
        names.push(span.0.name.as_ref());
    }
    // BEGIN is sent with the next statement and has no span; a failed statement has one.
    let expected = [
        "CREATE entry",
        "INSERT entry",
        "COMMIT",
        "SET SELECT entry",
        "INSERT entry",
    ];
    assert_eq!(names, expected);
    let text = "INSERT INTO entry (id, iban) VALUES ($1, $2)";
    let inserts: Vec<_> = capture
        .spans()
        .into_iter()
        .filter(|span| span.0.name == "INSERT entry")
        .collect();
    inserts[0]
        .has("db.query.text", text)
        .has("db.collection.name", "entry");
    capture
        .span("SET SELECT entry")
        .lacks("db.query.text")
        .lacks("db.operation.name");
    assert!(!format!("{:?}", capture.spans()).contains(SECRET));
    let points = capture.points("db.client.operation.duration");
    assert_eq!(
        points.iter().map(|point| point.count).sum::<u64>(),
        5,
        "{points:#?}"
    );
    assert!(!format!("{points:?}").contains(SECRET));
    let logs = format!("{:?}", capture.logs());
    assert!(!logs.contains(SECRET) && !logs.contains("entry"), "{logs}");
}

#[tokio::test]
async fn on_sqlite_statements_are_children_of_the_callers_span() {
    let database = TestDatabase::sqlite();
    let capture = Capture::with_database(&Database::sqlite());
    // sqlx runs SQLite's statements on its own thread, which needs a global subscriber.
    let dispatch = tracing::dispatcher::get_default(Clone::clone);
    tracing::dispatcher::set_global_default(dispatch).unwrap();
    let mut connection = SqliteConnection::connect(database.url()).await.unwrap();
    let select = async {
        connection.execute("SELECT 7").await.unwrap();
    };
    select.instrument(tracing::info_span!("caller")).await;
    // The thread releases the span before it responds to this.
    connection.ping().await.unwrap();
    let select = capture.span("SELECT");
    let caller = capture.span("caller");
    assert_eq!(select.0.parent_span_id, caller.0.span_context.span_id());
}
