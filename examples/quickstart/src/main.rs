//! A small service in which no change can miss its audit record.
//!
//! `cargo run -p quickstart` serves it on an SQLite file in a temporary folder, or on Postgres if
//! `DATABASE_URL` is a `postgres://…` URL. `-- --tour` checks its promises one by one.

mod tour;

use std::net::SocketAddr;

use anyhow::Context;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, http::request::Parts};
use platform_audit::routing::{Router, get};
use platform_audit::{Actor, Audit, AuditRecord, AuditTx, Auditable, audited};

use platform_observability::Telemetry;
use serde::{Deserialize, Serialize};
use sqlx::error::DatabaseError;
use sqlx::{Any, AnyConnection, AnyPool, Connection};
use uuid::Uuid;

/// This example runs on either database; a service on Postgres writes just `AuditTx`.
type Tx = AuditTx<Any>;

/// A line of the ledger. Its fields appear in the audit record, the IBAN only as redacted.
#[derive(Clone, Auditable, Serialize, sqlx::FromRow)]
#[audit(resource = "entry")]
struct Entry {
    #[audit(id)]
    id: String,
    amount: i64,
    #[audit(redact)]
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
        .execute(&mut *tx)
        .await?;
    if entry.amount == 0 {
        return Err(ApiError::Invalid("the amount must not be 0")); // rolls the INSERT back
    }
    tx.created(&entry);
    Ok((StatusCode::CREATED, Json(entry)))
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
        .route("/entries", get(list_entries).post(create_entry))
        .route(
            "/entries/{id}",
            platform_audit::routing::put(update_entry).delete(delete_entry),
        )
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
    let is_tour = std::env::args().any(|argument| argument == "--tour");
    let telemetry = Telemetry::builder("quickstart") // to Axiom, any OTLP endpoint, or the console
        .log_filter(if is_tour { "error" } else { "info" })
        .init()?;
    let served = serve(&telemetry, is_tour).await;
    let shut_down = telemetry.shutdown().await;
    served.and(shut_down.map_err(Into::into))
}

async fn serve(telemetry: &Telemetry, is_tour: bool) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let url = std::env::var("DATABASE_URL").unwrap_or_else(|_| {
        format!(
            "sqlite://{}?mode=rwc",
            folder.path().join("quickstart.db").display()
        )
    });
    let pool = open(&url).await?;
    let audit = Audit::builder(pool.clone(), "quickstart")
        .service_version(env!("CARGO_PKG_VERSION"))
        .actor_from(actor)
        // The database rejects changes of this table without a record. The tour enables this in its
        // last step.
        .guard((!is_tour).then_some("entry"))
        .development(true) // only warns of what prevents a start in production
        .start() // migrates
        .await?;

    let routes = if is_tour {
        router()
            .merge_axum(tour::unaudited_route())
            .merge(tour::routes())
    } else {
        router()
    };
    let app = routes
        .with_state(App {
            pool: pool.clone(),
            audit: audit.clone(),
        })
        .layer(audit.layer())
        .layer(telemetry.layer());

    let port = if is_tour { 0 } else { 3000 };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .with_context(|| {
            format!(
                "cannot listen on 127.0.0.1:{port}: stop what uses this port, such as another quickstart"
            )
        })?;
    let address = listener.local_addr()?;
    let server = axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    );
    if is_tour {
        tokio::spawn(async move { server.await });
        tour::run(address, &pool, &audit).await?;
    } else {
        print_usage(address);
        let shutdown_signal = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
        server.with_graceful_shutdown(shutdown_signal).await?;
    }
    audit.shutdown().await; // waits for handlers whose clients have disconnected
    Ok(())
}

async fn open(url: &str) -> anyhow::Result<AnyPool> {
    sqlx::any::install_default_drivers();
    // Connects once before opening the pool, which retries until its timeout and omits the cause.
    let tried = AnyConnection::connect(url).await;
    tried
        .context("the database cannot be opened: check DATABASE_URL, or unset it to use SQLite")?;
    let pool = AnyPool::connect(url).await?;
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
