//! The service of `examples/quickstart` without the toolkit: nothing is audited, and logs
//! are only written to the console.

use std::net::SocketAddr;

use anyhow::Context;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use sqlx::error::DatabaseError;
use sqlx::{Any, AnyConnection, AnyPool, Connection, Transaction};
use uuid::Uuid;

/// A line of the ledger.
#[derive(Clone, Serialize, sqlx::FromRow)]
struct Entry {
    id: String,
    amount: i64,
    iban: String,
}

#[derive(Deserialize)]
struct NewEntry {
    amount: i64,
    iban: String,
}

async fn create_entry(
    State(app): State<App>,
    Json(new): Json<NewEntry>,
) -> Result<(StatusCode, Json<Entry>), ApiError> {
    let mut tx = app.pool.begin().await?;
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
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(entry)))
}

async fn update_entry(
    State(app): State<App>,
    Path(id): Path<String>,
    Json(new): Json<NewEntry>,
) -> Result<Json<Entry>, ApiError> {
    let mut tx = app.pool.begin().await?;
    let before = find(&mut tx, &id).await?;
    let after = Entry {
        amount: new.amount,
        iban: new.iban,
        ..before
    };
    sqlx::query("UPDATE entry SET amount = $2, iban = $3 WHERE id = $1")
        .bind(&id)
        .bind(after.amount)
        .bind(&after.iban)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Json(after))
}

async fn delete_entry(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let mut tx = app.pool.begin().await?;
    find(&mut tx, &id).await?;
    sqlx::query("DELETE FROM entry WHERE id = $1")
        .bind(&id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_entries(State(app): State<App>) -> Result<Json<Vec<Entry>>, ApiError> {
    let entries =
        sqlx::query_as("SELECT id, amount, iban FROM entry ORDER BY id").fetch_all(&app.pool);
    Ok(Json(entries.await?))
}

async fn find(tx: &mut Transaction<'_, Any>, id: &str) -> Result<Entry, ApiError> {
    let entry = sqlx::query_as("SELECT id, amount, iban FROM entry WHERE id = $1").bind(id);
    entry
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(ApiError::NotFound)
}

#[derive(Clone)]
struct App {
    pool: AnyPool,
}

fn router() -> Router<App> {
    Router::new()
        .route("/entries", get(list_entries).post(create_entry))
        .route("/entries/{id}", put(update_entry).delete(delete_entry))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    let folder = tempfile::tempdir()?;
    let url = std::env::var("DATABASE_URL").unwrap_or_else(|_| {
        format!(
            "sqlite://{}?mode=rwc",
            folder.path().join("quickstart.db").display()
        )
    });
    let pool = open(&url).await?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 3000)).await?;
    let app = router().with_state(App { pool });
    let server = axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    );
    let shutdown_signal = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    server.with_graceful_shutdown(shutdown_signal).await?;
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
