//! No audit at all: one statement in autocommit.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use sqlx::PgPool;

use super::{Failure, Posted, Scheme, entries, insert, insert_many};

pub(super) const SCHEME: Scheme = Scheme {
    key: "unaudited",
    name: "(a) unaudited",
    records: "",
    set_up: |_| Box::pin(async {}),
    service: |pool| Box::pin(async { service(pool) }),
};

/// Also the service of the schemes that audit without code in handlers.
pub(super) fn service(pool: PgPool) -> Router {
    Router::new()
        .route("/entries", post(create))
        .route("/imports", post(import))
        .with_state(pool)
}

async fn create(
    State(pool): State<PgPool>,
    Json(posted): Json<Posted>,
) -> Result<StatusCode, Failure> {
    insert(&pool, &posted.into()).await?;
    Ok(StatusCode::CREATED)
}

async fn import(
    State(pool): State<PgPool>,
    Json(posted): Json<Vec<Posted>>,
) -> Result<StatusCode, Failure> {
    insert_many(&pool, &entries(posted)).await?;
    Ok(StatusCode::CREATED)
}
