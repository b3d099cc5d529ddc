//! The tests that run on both databases. `Db`, `RECORD` and `database()` come from the parent
//! module.

mod append_only;
mod attempts;
mod authentication;
mod begin;
mod cancellation;
mod catalogue;
mod commit;
mod fail_closed;
mod headers;
mod rate_limit;
mod routes;
mod soak;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use platform_audit::routing::{self, Router, get};
use platform_audit::{
    Actor, Audit, AuditBuilder, AuditRecord, AuditTx, Auditable, Outcome, audit_exempt, audited,
};
use platform_harness::database::TestDatabase;
use serde::{Deserialize, Serialize};
use sqlx::pool::PoolOptions;
use sqlx::{AssertSqlSafe, Pool};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{Db, RECORD, WRITTEN, XID_COLUMN, database};

pub(super) type Tx = AuditTx<Db>;

#[derive(Clone, Debug, Auditable, Serialize, Deserialize)]
#[audit(resource = "entry")]
pub(super) struct Entry {
    #[audit(id)]
    pub(super) id: String,
    pub(super) amount: i64,
    #[audit(redact)]
    pub(super) iban: String,
}

impl Entry {
    pub(super) fn new(amount: i64) -> Self {
        Self {
            id: Uuid::now_v7().to_string(),
            amount,
            iban: IBAN.to_owned(),
        }
    }
}

/// A redacted value that no record may contain.
pub(super) const IBAN: &str = "DE02120300000000202051";

/// Inserts `entry` with the id of its record.
pub(super) async fn insert(tx: &mut Tx, entry: &Entry) -> Result<(), Failure> {
    let record_id = tx.record_id().to_string();
    sqlx::query("INSERT INTO entry (id, amount, iban, record_id) VALUES ($1, $2, $3, $4)")
        .bind(&entry.id)
        .bind(entry.amount)
        .bind(&entry.iban)
        .bind(record_id)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

#[audited(action = "entry.create")]
pub(super) async fn create(tx: &mut Tx, Json(entry): Json<Entry>) -> Result<StatusCode, Failure> {
    insert(tx, &entry).await?;
    tx.created(&entry);
    Ok(StatusCode::CREATED)
}

#[audited(action = "entry.update", resource = "entry", resource_id = id)]
pub(super) async fn update(
    tx: &mut Tx,
    Path(id): Path<String>,
    Json(after): Json<Entry>,
) -> Result<StatusCode, Failure> {
    let (amount, iban) = sqlx::query_as("SELECT amount, iban FROM entry WHERE id = $1")
        .bind(&id)
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(Failure(StatusCode::NOT_FOUND))?;
    let before = Entry { id, amount, iban };
    sqlx::query("UPDATE entry SET amount = $2, iban = $3 WHERE id = $1")
        .bind(&before.id)
        .bind(after.amount)
        .bind(&after.iban)
        .execute(&mut *tx)
        .await?;
    tx.updated(&before, &after);
    Ok(StatusCode::OK)
}

#[audited(action = "entry.delete", reason = "required")]
pub(super) async fn remove(tx: &mut Tx, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    let (amount, iban) = sqlx::query_as("SELECT amount, iban FROM entry WHERE id = $1")
        .bind(&id)
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(Failure(StatusCode::NOT_FOUND))?;
    sqlx::query("DELETE FROM entry WHERE id = $1")
        .bind(&id)
        .execute(&mut *tx)
        .await?;
    tx.deleted(&Entry { id, amount, iban });
    Ok(StatusCode::NO_CONTENT)
}

/// Writes several records in one transaction.
#[audited(action = "entry.import")]
pub(super) async fn import(
    tx: &mut Tx,
    Json(entries): Json<Vec<Entry>>,
) -> Result<StatusCode, Failure> {
    tx.details("count", entries.len());
    for entry in &entries {
        insert(tx, entry).await?;
        tx.created(entry);
    }
    Ok(StatusCode::CREATED)
}

#[audited(action = "entry.touch")]
async fn touch(tx: &mut Tx) -> Result<StatusCode, Failure> {
    sqlx::query("UPDATE entry SET amount = amount")
        .execute(&mut *tx)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Inserts, and then responds with the requested status.
#[audited(action = "entry.fail", resource = "entry", resource_id = entry.id)]
async fn fail(
    tx: &mut Tx,
    Path(status): Path<u16>,
    Json(entry): Json<Entry>,
) -> Result<StatusCode, Failure> {
    insert(tx, &entry).await?;
    tx.created(&entry);
    Err(Failure(StatusCode::from_u16(status).unwrap()))
}

#[audited(action = "entry.panic")]
async fn panic(tx: &mut Tx, Json(entry): Json<Entry>) -> Result<StatusCode, Failure> {
    insert(tx, &entry).await?;
    tx.created(&entry);
    panic!("expected by the test");
}

/// Inserts, notifies the test, and waits for it.
#[audited(action = "entry.wait")]
async fn wait(
    tx: &mut Tx,
    Extension(gates): Extension<Arc<Gates>>,
    Json(entry): Json<Entry>,
) -> Result<StatusCode, Failure> {
    insert(tx, &entry).await?;
    tx.created(&entry);
    gates.inside.notify_one();
    gates.go_on.notified().await;
    Ok(StatusCode::CREATED)
}

#[derive(Default)]
pub(super) struct Gates {
    pub(super) inside: Notify,
    pub(super) go_on: Notify,
    /// The server has noticed that a client disconnected.
    pub(super) gone: Notify,
}

/// The outermost layer: notifies when the server drops a request without a response.
async fn notify_when_dropped(
    State(gates): State<Arc<Gates>>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    struct Unanswered(Option<Arc<Gates>>);
    impl Drop for Unanswered {
        fn drop(&mut self) {
            if let Some(gates) = &self.0 {
                gates.gone.notify_one();
            }
        }
    }
    let mut unanswered = Unanswered(Some(gates));
    let response = next.run(request).await;
    unanswered.0 = None;
    response
}

#[audited(action = "entry.read", resource = "entry", resource_id = id, read)]
async fn read(
    State(service): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Entry>, Failure> {
    let (amount, iban) = sqlx::query_as("SELECT amount, iban FROM entry WHERE id = $1")
        .bind(&id)
        .fetch_optional(&service.pool)
        .await?
        .ok_or(Failure(StatusCode::NOT_FOUND))?;
    Ok(Json(Entry { id, amount, iban }))
}

/// The client is not authenticated yet.
#[audited(action = "user.sign_up", actor = "optional")]
async fn sign_up(tx: &mut Tx, Json(entry): Json<Entry>) -> Result<StatusCode, Failure> {
    insert(tx, &entry).await?;
    tx.created(&entry);
    Ok(StatusCode::CREATED)
}

#[audit_exempt(reason = "computes, and stores nothing")]
async fn preview(Json(entry): Json<Entry>) -> Json<i64> {
    Json(entry.amount * 2)
}

/// A state change without `#[audited]`.
pub(super) async fn forgotten(
    State(service): State<Shared>,
    Json(entry): Json<Entry>,
) -> Result<StatusCode, Failure> {
    sqlx::query("INSERT INTO entry (id, amount, iban, record_id) VALUES ($1, $2, $3, '')")
        .bind(&entry.id)
        .bind(entry.amount)
        .bind(&entry.iban)
        .execute(&service.pool)
        .await?;
    Ok(StatusCode::CREATED)
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Failure(pub(super) StatusCode);

impl From<sqlx::Error> for Failure {
    fn from(_: sqlx::Error) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) pool: Pool<Db>,
}

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/entries", routing::post(create))
        .route("/entries/{id}", get(read).put(update).delete(remove))
        .route("/import", routing::post(import))
        .route("/touch", routing::post(touch))
        .route("/fail/{status}", routing::post(fail))
        .route("/panic", routing::post(panic))
        .route("/wait", routing::post(wait))
        .route("/sign-up", routing::post(sign_up))
        .route("/preview", routing::post(preview))
}

/// Derives the actor from the header `x-user`.
fn who(request: &Parts) -> Option<Actor> {
    let name = request.headers.get("x-user")?.to_str().ok()?;
    Some(Actor::user(name).with_tenant("clinic-7"))
}

/// Serves `app` on a free port.
pub(super) async fn serve(app: axum::Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// A running server with its own database.
pub(super) struct Service {
    pub(super) address: SocketAddr,
    pub(super) audit: Audit<Db>,
    pub(super) pool: Pool<Db>,
    pub(super) gates: Arc<Gates>,
    pub(super) client: reqwest::Client,
    // Dropped with the service.
    _database: TestDatabase,
}

impl Service {
    pub(super) async fn start() -> Self {
        Self::with(|builder| builder, |router| router).await
    }

    /// Starts with changed settings, and with layers or routes inside the audit layer.
    pub(super) async fn with(
        set: impl FnOnce(AuditBuilder<Db>) -> AuditBuilder<Db>,
        inside: impl FnOnce(Router<Shared>) -> Router<Shared>,
    ) -> Self {
        let database = database().await;
        let url = database.url().to_owned();
        Self::on(database, &url, set, inside).await
    }

    /// Starts on `database` through `url`, which may be a proxy's.
    pub(super) async fn on(
        database: TestDatabase,
        url: &str,
        set: impl FnOnce(AuditBuilder<Db>) -> AuditBuilder<Db>,
        inside: impl FnOnce(Router<Shared>) -> Router<Shared>,
    ) -> Self {
        Self::build(database, url, |options| options, set, inside).await
    }

    /// Starts with changed settings, including those of the pool.
    pub(super) async fn on_pool(
        options: impl FnOnce(PoolOptions<Db>) -> PoolOptions<Db>,
        set: impl FnOnce(AuditBuilder<Db>) -> AuditBuilder<Db>,
    ) -> Self {
        let database = database().await;
        let url = database.url().to_owned();
        Self::build(database, &url, options, set, |router| router).await
    }

    pub(super) async fn build(
        database: TestDatabase,
        url: &str,
        options: impl FnOnce(PoolOptions<Db>) -> PoolOptions<Db>,
        set: impl FnOnce(AuditBuilder<Db>) -> AuditBuilder<Db>,
        inside: impl FnOnce(Router<Shared>) -> Router<Shared>,
    ) -> Self {
        let pool = options(PoolOptions::new())
            .connect(url)
            .await
            .expect("the test's database opens");
        let table = format!(
            "CREATE TABLE entry (id TEXT PRIMARY KEY, amount BIGINT NOT NULL CHECK (amount >= 0), iban TEXT NOT NULL, record_id TEXT NOT NULL, {XID_COLUMN})"
        );
        sqlx::query(AssertSqlSafe(table))
            .execute(&pool)
            .await
            .expect("the test's table is created");
        let audit = set(Audit::builder(pool.clone(), "ledger")
            .actor_from(who)
            .development(true))
        .start()
        .await
        .expect("auditing starts");
        let gates = Arc::new(Gates::default());
        let app = inside(routes())
            .layer(Extension(Arc::clone(&gates)))
            .layer(audit.layer())
            .layer(axum::middleware::from_fn_with_state(
                Arc::clone(&gates),
                notify_when_dropped,
            ))
            .with_state(Shared { pool: pool.clone() });
        let address = serve(app.into()).await;
        Self {
            address,
            audit,
            pool,
            gates,
            client: reqwest::Client::new(),
            _database: database,
        }
    }

    pub(super) fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.request(reqwest::Method::POST, path)
    }

    pub(super) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
            .header("x-user", "ada")
    }

    /// Posts `entry` and returns the response.
    pub(super) async fn send(&self, path: &str, entry: &Entry) -> reqwest::Response {
        self.post(path)
            .json(entry)
            .send()
            .await
            .expect("the service responds")
    }

    /// Posts an entry without an actor.
    pub(super) async fn send_anonymously(&self, path: &str) -> reqwest::Response {
        let url = format!("http://{}{path}", self.address);
        let request = self.client.post(url).json(&Entry::new(1));
        request.send().await.expect("the service responds")
    }

    /// Serves `router` with the state of this service, and posts an entry to `path` there.
    pub(super) async fn send_to(&self, router: Router<Shared>, path: &str) -> reqwest::Response {
        let pool = self.pool.clone();
        let address = serve(router.with_state(Shared { pool }).into()).await;
        let request = self.client.post(format!("http://{address}{path}"));
        let request = request.header("x-user", "ada").json(&Entry::new(1));
        request.send().await.expect("the service responds")
    }

    /// Awaits `during` while a request to `path` waits at its gates. Returns both results.
    pub(super) async fn while_waiting<T>(
        &self,
        path: &str,
        during: impl Future<Output = T>,
    ) -> (reqwest::Response, T) {
        let entry = Entry::new(1);
        let during = async {
            self.gates.inside.notified().await;
            let result = during.await;
            self.gates.go_on.notify_one();
            result
        };
        futures_util::future::join(self.send(path, &entry), during).await
    }

    pub(super) async fn entries(&self) -> i64 {
        self.scalar("SELECT count(*) FROM entry").await
    }

    pub(super) async fn records(&self) -> i64 {
        self.scalar(&format!("SELECT count(*) FROM {RECORD}")).await
    }

    pub(super) async fn scalar(&self, statement: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(statement.to_owned()))
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Returns the only record.
    pub(super) async fn only_record(&self) -> AuditRecord {
        let records = self.all_records().await;
        assert_eq!(records.len(), 1, "{records:#?}");
        records.into_iter().next().unwrap()
    }

    /// Returns all records, ordered by id.
    pub(super) async fn all_records(&self) -> Vec<AuditRecord> {
        let ids: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT CAST(id AS TEXT) FROM {RECORD} ORDER BY id"
        )))
        .fetch_all(&self.pool)
        .await
        .unwrap();
        let mut records = Vec::new();
        for (id,) in ids {
            records.push(
                self.audit
                    .record(id.parse().unwrap())
                    .await
                    .unwrap()
                    .unwrap(),
            );
        }
        records
    }

    /// Returns the record that a response names.
    pub(super) async fn record_of(&self, response: &reqwest::Response) -> AuditRecord {
        let id = record_id(response);
        self.audit
            .record(id)
            .await
            .unwrap()
            .unwrap_or_else(|| panic!("record {id} does not exist"))
    }

    /// Waits until there are `count` records.
    pub(super) async fn wait_for_records(&self, count: i64) {
        wait_until(|| async { self.records().await == count }).await;
    }
}

pub(super) fn record_id(response: &reqwest::Response) -> Uuid {
    let id = response
        .headers()
        .get("audit-record-id")
        .expect("the response names its record");
    id.to_str().unwrap().parse().unwrap()
}

/// Waits up to 30 seconds for a condition.
pub(super) async fn wait_until<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    for _ in 0..3000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("timed out after 30 seconds");
}
