//! The published log over HTTP (C2SP tlog-tiles), from the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use sqlx::Pool;
use tokio::sync::Semaphore;

use super::error::SealError;
use super::log::SealedLog;
use super::resource::Resource;
use super::run::describe;
use crate::store::{AuditDatabase, SealSql};

/// How many requests read the database at the same time: the log is public, and must not take the
/// connections of the service.
const AT_ONCE: usize = 2;

/// For a checkpoint, and for what does not exist yet.
const REVALIDATED: &str = "no-cache";
/// For tiles and bundles, which never change.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

struct Site<DB: AuditDatabase> {
    pool: Pool<DB>,
    sql: &'static dyn SealSql,
    schema: String,
    /// The size of the newest checkpoint that was read.
    size: AtomicU64,
    permits: Semaphore,
}

/// See [`Audit::log_router`](crate::Audit::log_router).
pub(crate) fn router<DB: AuditDatabase>(
    pool: Pool<DB>,
    sql: &'static dyn SealSql,
    schema: String,
) -> Router {
    let site = Site {
        pool,
        sql,
        schema,
        size: AtomicU64::new(0),
        permits: Semaphore::new(AT_ONCE),
    };
    Router::new()
        .route("/checkpoint", get(checkpoint::<DB>))
        .route("/tile/{*path}", get(tile::<DB>))
        .with_state(Arc::new(site))
}

async fn checkpoint<DB: AuditDatabase>(State(site): State<Arc<Site<DB>>>) -> Response {
    let read = site.read(async |site, log| site.newest(log).await).await;
    respond(read, &site.schema, "text/plain; charset=utf-8", REVALIDATED)
}

async fn tile<DB: AuditDatabase>(
    State(site): State<Arc<Site<DB>>>,
    Path(path): Path<String>,
) -> Response {
    let Ok(wanted) = format!("tile/{path}").parse::<Resource>() else {
        return not_found();
    };
    let read = site
        .read(async |site, log| {
            if !wanted.is_within(site.size.load(Ordering::Relaxed)) {
                site.newest(log).await?;
            }
            match wanted.is_within(site.size.load(Ordering::Relaxed)) {
                true => wanted.read(log).await.map(Some),
                false => Ok(None),
            }
        })
        .await;
    respond(read, &site.schema, "application/octet-stream", IMMUTABLE)
}

impl<DB: AuditDatabase> Site<DB> {
    async fn read(
        &self,
        work: impl AsyncFnOnce(&Self, &mut SealedLog<'_, DB>) -> Result<Option<Vec<u8>>, SealError>,
    ) -> Result<Option<Vec<u8>>, SealError> {
        // Never closed, so this is never an error.
        let _permit = self.permits.acquire().await;
        let mut connection = self.pool.acquire().await?;
        let mut log = SealedLog::<DB> {
            connection: &mut connection,
            sql: self.sql,
            schema: &self.schema,
        };
        work(self, &mut log).await
    }

    /// The newest checkpoint.
    async fn newest(&self, log: &mut SealedLog<'_, DB>) -> Result<Option<Vec<u8>>, SealError> {
        let newest = log.newest_checkpoint().await?;
        Ok(newest.map(|newest| {
            self.size.fetch_max(newest.size, Ordering::Relaxed);
            newest.note.into_bytes()
        }))
    }
}

fn respond(
    read: Result<Option<Vec<u8>>, SealError>,
    schema: &str,
    content_type: &'static str,
    caching: &'static str,
) -> Response {
    match read {
        Ok(Some(bytes)) => {
            let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, caching)];
            (headers, bytes).into_response()
        }
        Ok(None) => not_found(),
        Err(error) => {
            tracing::error!(
                schema,
                error = describe(&error),
                "the published log could not be read"
            );
            let headers = [(CACHE_CONTROL, REVALIDATED)];
            (StatusCode::SERVICE_UNAVAILABLE, headers).into_response()
        }
    }
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, [(CACHE_CONTROL, REVALIDATED)]).into_response()
}
