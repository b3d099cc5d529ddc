//! The command `catalogue`: recorded actions compared with the service's routes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

use std::io::Error;
use std::process::Command;

use axum::body::Body;
use axum::extract::Path;
use http::{Request, StatusCode};
use platform_audit::routing::{Catalogue, Router, delete, post};
use platform_audit::{Actor, Audit, AuditTx, audit_exempt, audited};
use platform_harness::database::TestDatabase;
use serde_json::{Value, json};
use sqlx::{Any, AnyPool};
use tower::ServiceExt;

#[audited(action = "entry.create")]
async fn create(tx: &mut AuditTx<Any>) -> StatusCode {
    tx.record("entry", 7);
    tx.record("line", 1).action("entry.line_add").unwrap();
    StatusCode::CREATED
}

#[audited(action = "entry.add")]
async fn renamed(tx: &mut AuditTx<Any>) -> StatusCode {
    tx.record("entry", 7);
    StatusCode::CREATED
}

#[audited(action = "entry.delete", resource = "entry", resource_id = id)]
async fn remove(tx: &mut AuditTx<Any>, Path(id): Path<u32>) -> StatusCode {
    tx.details("entry", id);
    StatusCode::NO_CONTENT
}

#[audit_exempt(reason = "computes, and stores nothing")]
async fn preview() -> StatusCode {
    StatusCode::OK
}

fn routes() -> Router {
    Router::new()
        .route("/entries", post(create))
        .route("/entries/{id}", delete(remove))
        .route("/preview", post(preview))
}

/// Writes two entries through requests, and one backup without a request.
async fn log(database: &TestDatabase) {
    sqlx::any::install_default_drivers();
    let pool = AnyPool::connect(database.url()).await.unwrap();
    let audit = Audit::builder(pool, "ledger")
        .actor_from(|_: &http::request::Parts| Some(Actor::user("ada")))
        .development(true);
    let audit = audit.start().await.unwrap();
    let service = axum::Router::from(routes()).layer(audit.layer());
    for (path, expected) in [
        ("/entries", StatusCode::CREATED),
        ("/entries", StatusCode::CREATED),
        ("/preview", StatusCode::OK),
    ] {
        let request = Request::post(path).body(Body::empty()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), expected, "{path}");
    }
    let work = audit.transaction(Actor::system("cron"), "backup.run", async |tx| {
        tx.record("backup", 1);
        Ok::<_, Error>(())
    });
    work.await.unwrap();
    audit.shutdown().await;
}

fn run(database: &TestDatabase, more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_platform-audit"));
    command.args(["catalogue", "--service", "ledger", "--as", "grace"]);
    command.arg("--database-url").arg(database.url()).args(more);
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// The lines, without timestamps.
fn lines(text: &str) -> Vec<Value> {
    let line = |line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("last");
        line
    };
    text.lines().map(line).collect()
}

async fn recorded_actions_are_compared_with_the_routes(database: TestDatabase) {
    log(&database).await;
    let (status, text) = run(&database, &["--format", "jsonl"]);
    assert_eq!(status, Some(0), "{text}");
    let created =
        json!({"action": "entry.create", "method": "POST", "route": "/entries", "records": 2});
    let additional =
        json!({"action": "entry.line_add", "method": "POST", "route": "/entries", "records": 2});
    let recorded = [
        json!({"action": "backup.run", "records": 1}),
        created.clone(),
        additional.clone(),
    ];
    assert_eq!(lines(&text), recorded);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.json");
    let write = |catalogue: &Catalogue| {
        std::fs::write(&file, serde_json::to_string(catalogue).unwrap()).unwrap();
    };
    let path = file.to_str().unwrap();
    write(routes().catalogue());
    let arguments = ["--routes", path, "--action", "entry.*", "--format", "jsonl"];
    let (status, text) = run(&database, &arguments);
    assert_eq!(status, Some(0), "{text}");
    let [listed, additional] = [created, additional].map(|mut line| {
        line["listed"] = true.into();
        line
    });
    assert_eq!(
        lines(&text),
        [
            listed,
            additional,
            json!({"action": "entry.delete", "method": "DELETE", "route": "/entries/{id}", "records": 0, "listed": true}),
            json!({"method": "POST", "route": "/preview", "records": 0, "exempt": "computes, and stores nothing", "listed": true}),
        ]
    );
    let (_, table) = run(&database, &["--routes", path]);
    assert!(
        table.contains("exempt: computes, and stores nothing"),
        "{table}"
    );

    // The route is missing from the catalogue, but has records.
    let without: Router = Router::new().route("/entries/{id}", delete(remove));
    write(without.catalogue());
    let (status, table) = run(&database, &["--routes", path]);
    assert_eq!(status, Some(1), "{table}");
    assert_eq!(table.matches("NOT LISTED").count(), 2, "{table}");
    // The route's own action was never recorded.
    let other: Router = Router::new().route("/entries", post(renamed));
    write(other.catalogue());
    let (status, table) = run(&database, &["--routes", path]);
    assert_eq!(status, Some(1), "{table}");
    assert_eq!(table.matches("NOT LISTED").count(), 2, "{table}");

    std::fs::write(&file, "paths: {}").unwrap();
    let (status, output) = run(&database, &["--routes", path]);
    assert_eq!(status, Some(2));
    assert!(output.contains("router.catalogue()"), "{output}");
}

#[tokio::test]
async fn recorded_actions_are_compared_with_the_routes_on_sqlite() {
    recorded_actions_are_compared_with_the_routes(TestDatabase::sqlite()).await;
}

#[tokio::test]
async fn recorded_actions_are_compared_with_the_routes_on_postgres() {
    recorded_actions_are_compared_with_the_routes(TestDatabase::postgres().await).await;
}

#[tokio::test]
async fn a_truncated_list_of_actions_fails_instead_of_passing() {
    let database = TestDatabase::sqlite();
    log(&database).await;
    let pool = AnyPool::connect(database.url()).await.unwrap();
    let many = "INSERT INTO ledger_audit_record (id, xid, occurred_at, service, actor_kind, actor_id, action, outcome)
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000)
        SELECT printf('%036d', n), 'x', '2026-11-23T00:00:00Z', 'ledger', 'user', 'ada', printf('a.n%d', n), 'success' FROM n";
    sqlx::query(many).execute(&pool).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.json");
    std::fs::write(&file, serde_json::to_string(routes().catalogue()).unwrap()).unwrap();
    let path = file.to_str().unwrap();
    let (status, output) = run(&database, &["--routes", path]);
    assert_eq!(status, Some(2), "{output}");
    assert!(output.contains("only the first 1000"), "{output}");
    let (status, output) = run(&database, &["--routes", path, "--action", "entry.*"]);
    assert_eq!(status, Some(0), "{output}");
}
