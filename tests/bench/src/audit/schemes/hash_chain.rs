//! Each record contains the hash of the previous one, so each transaction waits for the previous
//! one.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;
use sqlx::{PgPool, PgTransaction};

use super::{Entry, Failure, Posted, Scheme, entries, insert, insert_many};

pub(super) const SCHEME: Scheme = Scheme {
    key: "hash_chain",
    name: "(g) hash chain in the transaction",
    records: "chain",
    set_up: |installation| Box::pin(installation.run(TABLE)),
    service: |pool| Box::pin(async { service(pool) }),
};

const TABLE: &str = "
    CREATE TABLE chain (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, record jsonb NOT NULL, hash bytea NOT NULL);
    INSERT INTO chain (record, hash) VALUES ('{}', sha256(''));
    GRANT SELECT, INSERT ON chain TO {app}";

fn service(pool: PgPool) -> Router {
    Router::new()
        .route("/entries", post(create))
        .route("/imports", post(import))
        .with_state(pool)
}

async fn create(
    State(pool): State<PgPool>,
    headers: HeaderMap,
    Json(posted): Json<Posted>,
) -> Result<StatusCode, Failure> {
    let entry = Entry::from(posted);
    let mut tx = pool.begin().await?;
    insert(&mut *tx, &entry).await?;
    record(&mut tx, &headers, "entry.create", &[entry]).await?;
    tx.commit().await?;
    Ok(StatusCode::CREATED)
}

async fn import(
    State(pool): State<PgPool>,
    headers: HeaderMap,
    Json(posted): Json<Vec<Posted>>,
) -> Result<StatusCode, Failure> {
    let entries = entries(posted);
    let mut tx = pool.begin().await?;
    insert_many(&mut *tx, &entries).await?;
    record(&mut tx, &headers, "entry.import", &entries).await?;
    tx.commit().await?;
    Ok(StatusCode::CREATED)
}

async fn record(
    tx: &mut PgTransaction<'_>,
    headers: &HeaderMap,
    action: &str,
    entries: &[Entry],
) -> Result<(), Failure> {
    let header = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    let record = json!({
        "action": action, "actor": header("x-actor"), "request_id": header("x-request-id"),
        "user_agent": header("user-agent"), "entries": entries,
    });
    sqlx::query("SELECT pg_advisory_xact_lock(1)")
        .execute(&mut **tx)
        .await?;
    sqlx::query(
        "INSERT INTO chain (record, hash) SELECT $1, sha256(hash || convert_to($1::text, 'UTF8')) FROM chain ORDER BY position DESC LIMIT 1",
    )
    .bind(record)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
