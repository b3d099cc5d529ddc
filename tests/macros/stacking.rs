//! `#[audited]` together with other attributes, generics, and fifteen extractors. Each handler is
//! called, and its record read.

#![allow(
    clippy::expect_used,
    reason = "what fails here fails the test, as in the tests themselves"
)]

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use axum::response::IntoResponse;
use axum::{Json, Router};
use http_body_util::BodyExt;
use platform_audit::routing::{self, get, post};
use platform_audit::{Actor, Audit, AuditRecord, AuditTx, Outcome, audit_exempt, audited};
use serde::{Deserialize, Serialize};
use sqlx::Sqlite;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tempfile::TempDir;
use tower::ServiceExt;
use utoipa::OpenApi;

type Tx = AuditTx<Sqlite>;

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, utoipa::ToSchema)]
struct Entry {
    id: u64,
}

#[utoipa::path(post, path = "/above/{id}/{page}", responses((status = 201, body = Entry)))]
#[audited(action = "entry.create", resource = "entry", resource_id = format!("{id}/{page}"))]
#[axum::debug_handler]
async fn utoipa_above(
    tx: &mut Tx,
    Path((id, page)): Path<(u64, String)>,
    Json(entry): Json<Entry>,
) -> impl IntoResponse {
    touch(tx).await;
    (
        StatusCode::CREATED,
        [("x-id", id.to_string()), ("x-page", page)],
        Json(entry),
    )
}

#[audited(action = "entry.create", resource = "entry", resource_id = format!("{id}/{page}"))]
#[axum::debug_handler]
#[utoipa::path(post, path = "/below/{id}/{page}", responses((status = 201, body = Entry)))]
async fn utoipa_below(
    tx: &mut Tx,
    Path((id, page)): Path<(u64, String)>,
    Json(entry): Json<Entry>,
) -> impl IntoResponse {
    touch(tx).await;
    (
        StatusCode::CREATED,
        [("x-id", id.to_string()), ("x-page", page)],
        Json(entry),
    )
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(utoipa_above, utoipa_below))]
struct Api;

#[tokio::test]
async fn utoipa_may_be_above_or_below() {
    let router = routing::Router::new()
        .route("/above/{id}/{page}", post(utoipa_above))
        .route("/below/{id}/{page}", post(utoipa_below));
    let service = Service::of(router).await;
    for path in ["/above/7/front", "/below/7/front"] {
        let (status, body, record) = service.post(path, "{\"id\":3}").await;
        assert_eq!((status, body.as_str()), (StatusCode::CREATED, "{\"id\":3}"));
        assert_eq!(record.resource_id.as_deref(), Some("7/front"));
    }
    let document = serde_json::to_value(Api::openapi()).expect("the document");
    let (above, below) = (
        &document["paths"]["/above/{id}/{page}"]["post"],
        &document["paths"]["/below/{id}/{page}"]["post"],
    );
    assert_eq!(above["parameters"][0]["name"], "id");
    assert_eq!(above["parameters"][1]["name"], "page");
    assert!(above["requestBody"]["content"]["application/json"].is_object());
    for part in ["parameters", "requestBody", "responses"] {
        assert_eq!(above[part], below[part], "{part}");
    }
}

#[audited(action = "entry.create")]
#[tracing::instrument(skip_all, fields(entry.id = entry.id))]
async fn instrumented_below(tx: &mut Tx, Json(entry): Json<Entry>) -> StatusCode {
    touch(tx).await;
    tracing::info!("in the body");
    StatusCode::CREATED
}

#[tracing::instrument(skip_all, fields(entry.id = entry.id))]
#[audited(action = "entry.create")]
async fn instrumented_above(tx: &mut Tx, Json(entry): Json<Entry>) -> StatusCode {
    touch(tx).await;
    tracing::info!("in the body");
    StatusCode::CREATED
}

#[tokio::test]
async fn instrument_keeps_the_name_and_fields_of_its_span() {
    let written = Written::default();
    let output = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || output.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let router = routing::Router::new()
        .route("/below", post(instrumented_below))
        .route("/above", post(instrumented_above));
    let service = Service::of(router).await;
    service.post("/below", "{\"id\":3}").await;
    service.post("/above", "{\"id\":4}").await;
    let lines = written.lines_with("in the body");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].contains("instrumented_below{entry.id=3}: macros::stacking:"),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].contains("instrumented_above{entry.id=4}: macros::stacking:"),
        "{}",
        lines[1]
    );
}

#[audited(action = "entry.create", resource = "entry", resource_id = id)]
#[axum::debug_handler]
#[expect(clippy::too_many_arguments, reason = "the maximum number")]
async fn fifteen_extractors(
    _a: Method,
    _b: Uri,
    _c: Version,
    _d: HeaderMap,
    _e: Method,
    _f: Uri,
    _g: Version,
    _h: HeaderMap,
    tx: &mut Tx,
    _i: Method,
    _j: Uri,
    _k: Version,
    _l: HeaderMap,
    State(step): State<u64>,
    Path(id): Path<u64>,
    Json(entry): Json<Entry>,
) -> Result<(StatusCode, Json<Entry>), StatusCode> {
    touch(tx).await;
    Ok((
        StatusCode::CREATED,
        Json(Entry {
            id: entry.id + step + id,
        }),
    ))
}

#[tokio::test]
async fn fifteen_extractors_besides_the_transaction_are_accepted() {
    let router = routing::Router::new()
        .route("/{id}", post(fifteen_extractors))
        .with_state(100);
    let service = Service::of(router).await;
    let (status, body, record) = service.post("/20", "{\"id\":3}").await;
    assert_eq!(
        (status, body.as_str()),
        (StatusCode::CREATED, "{\"id\":123}")
    );
    assert_eq!(record.resource_id.as_deref(), Some("20"));
}

trait Numbers: Clone + Send + Sync + 'static {
    fn next(&self) -> u64;
}

#[derive(Clone)]
struct Always(u64);

impl Numbers for Always {
    fn next(&self) -> u64 {
        self.0
    }
}

#[audited(action = "entry.create")]
#[expect(clippy::needless_lifetimes, reason = "tests a named lifetime")]
async fn generic<'t, N, const STEP: u64>(
    tx: &'t mut AuditTx<Sqlite>,
    State(numbers): State<N>,
) -> Result<impl IntoResponse, StatusCode>
where
    N: Numbers,
{
    touch(tx).await;
    Ok(Json(Entry {
        id: numbers.next() + STEP,
    }))
}

#[tokio::test]
async fn a_handler_may_be_generic() {
    let router = routing::Router::new()
        .route("/", post(generic::<Always, 5>))
        .with_state(Always(7));
    let service = Service::of(router).await;
    let (status, body, _) = service.post("/", "").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "{\"id\":12}"));
}

#[audited(action = "entry.create")]
async fn borrowing(tx: &mut Tx, Json(entry): Json<Entry>) -> impl IntoResponse {
    touch(tx).await;
    (StatusCode::CREATED, format!("{:?}", entry.id))
}

#[tokio::test]
async fn impl_into_response_does_not_keep_the_transaction_borrowed() {
    let service = Service::of(routing::Router::new().route("/", post(borrowing))).await;
    let (status, body, _) = service.post("/", "{\"id\":3}").await;
    assert_eq!((status, body.as_str()), (StatusCode::CREATED, "3"));
}

macro_rules! handler {
    ($name:ident, $action:literal, $tx:ty, $id:expr) => {
        #[audited(action = $action, resource = "entry", resource_id = $id)]
        async fn $name(tx: $tx, Json(entry): Json<Entry>) -> StatusCode {
            touch(tx).await;
            let _ = entry;
            StatusCode::CREATED
        }
    };
}
handler!(made, "entry.make", &mut Tx, 2 + 3);

#[tokio::test]
async fn a_macro_may_generate_the_handler() {
    let service = Service::of(routing::Router::new().route("/", post(made))).await;
    let (_, _, record) = service.post("/", "{\"id\":3}").await;
    assert_eq!(record.action, "entry.make");
    assert_eq!(record.resource_id.as_deref(), Some("5"));
}

#[derive(Deserialize)]
struct Place {
    shelf: u64,
}

#[audited(
    action = "entry.move",
    resource = "entry",
    resource_id = id + place.shelf + entry.id,
    crate_path = "platform_audit"
)]
async fn patterns(
    Path(mut id): Path<u64>,
    Query(place): Query<Place>,
    Extension(ref name): Extension<String>,
    tx: &mut Tx,
    Json(mut entry @ Entry { .. }): Json<Entry>,
) -> String {
    touch(tx).await;
    id += 1;
    entry.id += id + place.shelf;
    format!("{name} {}", entry.id)
}

#[tokio::test]
async fn the_resource_id_borrows_the_arguments() {
    let router = routing::Router::new()
        .route("/{id}", post(patterns))
        .layer(Extension("shelf".to_owned()));
    let service = Service::of(router).await;
    let (_, body, record) = service.post("/1?shelf=20", "{\"id\":300}").await;
    assert_eq!(record.resource_id.as_deref(), Some("321"));
    assert_eq!(body, "shelf 322");
}

#[audited(action = "entry.read", resource = "entry", resource_id = id, read)]
async fn read(Path(id): Path<u64>) -> impl IntoResponse {
    Json(Entry { id })
}

#[tokio::test]
async fn a_read_needs_no_transaction() {
    let service = Service::of(routing::Router::new().route("/{id}", get(read))).await;
    let (status, body, record) = service.send(Method::GET, "/4", "").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "{\"id\":4}"));
    let record = record.expect("a record");
    assert_eq!(record.action, "entry.read");
    assert_eq!(record.resource_id.as_deref(), Some("4"));
}

#[utoipa::path(post, path = "/preview")]
#[audit_exempt(reason = "stores nothing")]
#[axum::debug_handler]
#[tracing::instrument(skip_all)]
async fn exempt(Json(entry): Json<Entry>) -> impl IntoResponse {
    Json(entry)
}

#[tokio::test]
async fn an_exempt_handler_writes_no_record() {
    let service = Service::of(routing::Router::new().route("/", post(exempt))).await;
    let (status, body, record) = service.send(Method::POST, "/", "{\"id\":4}").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "{\"id\":4}"));
    assert_eq!(record, None);
}

mod visibility {
    use super::*;

    /// Used by the parent module only.
    #[audited(action = "entry.create")]
    #[deprecated = "its warning is expected by the test"]
    #[must_use]
    pub(super) async fn restricted(tx: &mut Tx) -> StatusCode {
        touch(tx).await;
        StatusCode::CREATED
    }
}

#[audited(action = "entry.count")]
async fn r#loop(tx: &mut Tx, Json(entry): Json<Entry>) -> String {
    touch(tx).await;
    match entry.id {
        0 => "0".to_owned(),
        id => format!(
            "{id} {}",
            Box::pin(r#loop(tx, Json(Entry { id: id - 1 }))).await
        ),
    }
}

#[tokio::test]
async fn names_and_visibility_are_preserved() {
    #[audited(action = "entry.create")]
    async fn local(tx: &mut Tx) -> StatusCode {
        touch(tx).await;
        StatusCode::CREATED
    }
    #[expect(deprecated, reason = "the attribute stays on the handler")]
    let router = routing::Router::new()
        .route("/restricted", post(visibility::restricted))
        .route("/local", post(local))
        .route("/loop", post(r#loop));
    let service = Service::of(router).await;
    assert_eq!(service.post("/restricted", "").await.0, StatusCode::CREATED);
    assert_eq!(service.post("/local", "").await.0, StatusCode::CREATED);
    assert_eq!(service.post("/loop", "{\"id\":2}").await.1, "2 1 0");
}

#[audited(action = "entry.create")]
#[expect(unused_variables, reason = "fulfilled in the original handler")]
async fn expecting(tx: &mut Tx, Json(entry): Json<Entry>) -> StatusCode {
    StatusCode::CREATED
}

#[audited(action = "entry.create")]
#[expect(
    dead_code,
    reason = "no route uses it, and the compiler must still notice"
)]
async fn unused(tx: &mut Tx) -> StatusCode {
    touch(tx).await;
    StatusCode::CREATED
}

#[audited(action = "entry.create")]
#[cfg(any())]
async fn absent(tx: &mut OnlyWhereItExists) {}

#[tokio::test]
async fn lint_levels_and_conditions_apply_to_the_handler() {
    let service = Service::of(routing::Router::new().route("/", post(expecting))).await;
    assert_eq!(service.post("/", "{\"id\":3}").await.0, StatusCode::CREATED);
}

/// Changes something in the transaction.
async fn touch(tx: &mut Tx) {
    sqlx::query("INSERT INTO touched DEFAULT VALUES")
        .execute(tx)
        .await
        .expect("a change");
}

struct Service {
    audit: Audit<Sqlite>,
    app: Router,
    _folder: TempDir,
}

impl Service {
    async fn of(router: routing::Router) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("service.db"))
            .create_if_missing(true);
        let pool = SqlitePoolOptions::new()
            .connect_with(options)
            .await
            .expect("a database");
        sqlx::query("CREATE TABLE touched (id INTEGER PRIMARY KEY)")
            .execute(&pool)
            .await
            .expect("a table");
        let audit = Audit::builder(pool, "stacking")
            .development(true)
            .start()
            .await
            .expect("the audit");
        let app = router
            .layer(audit.layer())
            .layer(Extension(Actor::user("ada")))
            .into();
        Self {
            audit,
            app,
            _folder: folder,
        }
    }

    /// Returns the response to a state change, and the record that it names.
    async fn post(&self, path: &str, body: &str) -> (StatusCode, String, AuditRecord) {
        let (status, body, record) = self.send(Method::POST, path, body).await;
        let record = record.expect("a record");
        assert_eq!(record.outcome, Outcome::Success, "{status} {body}");
        (status, body, record)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: &str,
    ) -> (StatusCode, String, Option<AuditRecord>) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .expect("a request");
        let response = self.app.clone().oneshot(request).await.expect("a response");
        let status = response.status();
        let record = match response.headers().get("audit-record-id") {
            Some(id) => {
                let id = id.to_str().expect("text").parse().expect("an id");
                self.audit.record(id).await.expect("the store")
            }
            None => None,
        };
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned(), record)
    }
}

/// The output of a subscriber.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn lines_with(&self, text: &str) -> Vec<String> {
        let written = self.0.lock().expect("not poisoned");
        String::from_utf8_lossy(&written)
            .lines()
            .filter(|line| line.contains(text))
            .map(str::to_owned)
            .collect()
    }
}

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .expect("not poisoned")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
