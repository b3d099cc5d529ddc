//! A small service in which no change can miss its audit record.
//!
//! `cargo run -p quickstart` serves it on an SQLite file in a temporary folder, or on Postgres if
//! `DATABASE_URL` is a `postgres://…` URL. `-- --tour` checks its promises one by one.

mod tour;

use std::net::SocketAddr;

use anyhow::Context;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use platform_audit::routing::{Router, get, put};
use platform_audit::{Actor, Audit, AuditRecord, AuditTx, Auditable, audited};
use platform_observability::{Health, Telemetry, serve};
use serde::{Deserialize, Serialize};
use sqlx::error::DatabaseError;
use sqlx::{Any, AnyConnection, AnyPool, Connection};
use tokio::net::TcpListener;
use uuid::Uuid;

/// On either database; a service on Postgres writes just `AuditTx`.
type Tx = AuditTx<Any>;

/// A line of the ledger. Its fields appear in the audit record, the IBAN only as redacted.
#[derive(Clone, Auditable, Serialize, sqlx::FromRow)]
#[audit(resource = "entry")]
struct Entry {
    #[audit(id)]
    id: String,
    amount: i64,
    #[audit(redact)] // its values never reach a record
    iban: String,
}

#[derive(Deserialize)]
struct NewEntry {
    amount: i64,
    iban: String,
}

#[audited(action = "entry.create")]
async fn create_entry(
    tx: &mut Tx,
    Json(new): Json<NewEntry>,
) -> Result<(StatusCode, Json<Entry>), ApiError> {
    let entry = Entry {
        id: Uuid::now_v7().to_string(),
        amount: new.amount,
        iban: new.iban,
    };
    sqlx::query("INSERT INTO entry (id, amount, iban) VALUES ($1, $2, $3)")
        .bind(&entry.id)
        .bind(entry.amount)
        .bind(&entry.iban)
        .execute(&mut *tx) // the first statement begins the transaction
        .await?;
    if entry.amount == 0 {
        // ROLLBACK, and a record of the attempt
        return Err(ApiError::Invalid("the amount must not be 0"));
    }
    tx.created(&entry); // the resource, its id, and its fields
    Ok((StatusCode::CREATED, Json(entry))) // below 400: the record, and COMMIT
}

#[audited(action = "entry.update", resource = "entry", resource_id = id)]
async fn update_entry(
    tx: &mut Tx,
    Path(id): Path<String>,
    Json(new): Json<NewEntry>,
) -> Result<Json<Entry>, ApiError> {
    let before = find(tx, &id).await?;
    let after = Entry {
        amount: new.amount,
        iban: new.iban,
        ..before.clone()
    };
    sqlx::query("UPDATE entry SET amount = $2, iban = $3 WHERE id = $1")
        .bind(&id)
        .bind(after.amount)
        .bind(&after.iban)
        .execute(&mut *tx)
        .await?;
    tx.updated(&before, &after); // only the fields that differ
    Ok(Json(after))
}

#[audited(action = "entry.delete", resource = "entry", resource_id = id)]
async fn delete_entry(tx: &mut Tx, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let entry = find(tx, &id).await?;
    sqlx::query("DELETE FROM entry WHERE id = $1")
        .bind(&id)
        .execute(&mut *tx)
        .await?;
    tx.deleted(&entry);
    Ok(StatusCode::NO_CONTENT)
}

/// Changes nothing, so it needs no record.
async fn list_entries(State(app): State<App>) -> Result<Json<Vec<Entry>>, ApiError> {
    let entries =
        sqlx::query_as("SELECT id, amount, iban FROM entry ORDER BY id").fetch_all(&app.pool);
    Ok(Json(entries.await?))
}

/// Reads sensitive data: with `read`, the access is recorded before the response is sent.
#[audited(action = "audit_record.read", resource = "audit_record", resource_id = id, read)]
async fn read_record(
    State(app): State<App>,
    Path(id): Path<Uuid>,
) -> Result<Json<AuditRecord>, ApiError> {
    let record = app.audit.record(id).await.map_err(|_| ApiError::Internal)?;
    record.map(Json).ok_or(ApiError::NotFound)
}

async fn find(tx: &mut Tx, id: &str) -> Result<Entry, ApiError> {
    let entry = sqlx::query_as("SELECT id, amount, iban FROM entry WHERE id = $1").bind(id);
    entry.fetch_optional(tx).await?.ok_or(ApiError::NotFound)
}

#[derive(Clone)]
struct App {
    pool: AnyPool,
    audit: Audit<Any>,
}

fn router() -> Router<App> {
    Router::new()
        .route("/entries", get(list_entries).post(create_entry)) // `post` needs an audited handler
        .route("/entries/{id}", put(update_entry).delete(delete_entry))
        .route("/audit/{id}", get(read_record))
}

/// A placeholder for authentication: takes the user from `X-User`. A request with several of these
/// headers has no actor.
fn actor(request: &Parts) -> Option<Actor> {
    let mut users = request.headers.get_all("x-user").iter();
    let user = users.next().filter(|_| users.next().is_none())?;
    Some(Actor::user(user.to_str().ok()?))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?; // of the SQLite file
    let pool = open(folder.path()).await?;
    if std::env::args().any(|argument| argument == "--tour") {
        return tour::run(pool).await;
    }
    let listener = TcpListener::bind("127.0.0.1:3000").await.context(
        "cannot listen on 127.0.0.1:3000: stop what uses this port, such as another quickstart",
    )?;
    print_usage(listener.local_addr()?);
    run(listener, pool).await
}

/// Serves until SIGTERM or Ctrl-C.
async fn run(listener: TcpListener, pool: AnyPool) -> anyhow::Result<()> {
    let telemetry = Telemetry::init("quickstart")?; // Axiom, any OTLP endpoint, or the console
    let audit = Audit::builder(pool.clone(), "quickstart")
        .service_version(env!("CARGO_PKG_VERSION"))
        .actor_from(actor)
        .guard(["entry"]) // the database refuses changes of this table without a record
        .development(true) // without it, an unsafe database prevents the start
        .start() // migrates its own schema if its role may
        .await?;
    let app = router()
        .with_state(App {
            pool: pool.clone(),
            audit: audit.clone(),
        })
        .layer(audit.layer()) // no 2xx without a record
        .layer(telemetry.layer()); // outermost
    let probed = pool.clone();
    let health = Health::new().check("database", async move || probed.acquire().await.map(drop));
    serve(listener, axum::Router::from(app).merge(health.router())) // /livez and /readyz
        .with_health(&health)
        .on_shutdown(async move || audit.shutdown().await) // SIGTERM: drain, then these hooks
        .on_shutdown(async move || pool.close().await)
        .with_telemetry(telemetry) // at last, export what is left
        .run()
        .await?;
    Ok(())
}

/// Opens `DATABASE_URL`, or else an SQLite file in `folder`.
async fn open(folder: &std::path::Path) -> anyhow::Result<AnyPool> {
    sqlx::any::install_default_drivers();
    let url = std::env::var("DATABASE_URL").unwrap_or_else(|_| {
        let file = folder.join("quickstart.db");
        format!("sqlite://{}?mode=rwc", file.display())
    });
    // Connects once before opening the pool, which retries until its timeout and omits the cause.
    let tried = AnyConnection::connect(&url).await;
    tried
        .context("the database cannot be opened: check DATABASE_URL, or unset it to use SQLite")?;
    let pool = AnyPool::connect(&url).await?;
    if url.starts_with("sqlite:") {
        sqlx::query("PRAGMA journal_mode = WAL")
            .execute(&pool)
            .await?;
    }
    sqlx::query("CREATE TABLE IF NOT EXISTS entry (id TEXT PRIMARY KEY, amount BIGINT NOT NULL, iban TEXT NOT NULL)")
        .execute(&pool)
        .await?;
    Ok(pool)
}

#[expect(clippy::print_stdout, reason = "the first thing a newcomer reads")]
fn print_usage(address: SocketAddr) {
    println!(
        "listening on http://{address} — try:

  curl -i -H 'X-User: ada' --json '{{\"amount\": 1250, \"iban\": \"DE02120300000000202051\"}}' http://{address}/entries
  curl -i -H 'X-User: ada' http://{address}/audit/PUT-THE-AUDIT-RECORD-ID-HERE
  curl -i --json '{{\"amount\": 1, \"iban\": \"\"}}' http://{address}/entries   # no user: 401, recorded as denied
"
    );
}

enum ApiError {
    NotFound,
    Invalid(&'static str),
    Internal,
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        // The code only: a database's message may contain the client's data.
        let code = error
            .as_database_error()
            .and_then(DatabaseError::code)
            .map(String::from);
        tracing::error!(code, "a statement failed");
        Self::Internal
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
            Self::Invalid(why) => (StatusCode::UNPROCESSABLE_ENTITY, why).into_response(),
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}
