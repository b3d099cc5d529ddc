//! Each handler writes the audit record by hand, as a careful developer would: with the
//! columns and indexes of the toolkit's records, in one plain table.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use sqlx::{PgPool, PgTransaction};
use uuid::Uuid;

use super::{Entry, Failure, Posted, Scheme, entries, insert, insert_many};

pub(super) const SCHEME: Scheme = Scheme {
    key: "handwritten",
    name: "(b) written by hand",
    records: "audit",
    set_up: |installation| Box::pin(installation.run(TABLE)),
    service: |pool| Box::pin(async { service(pool) }),
};

const TABLE: &str = "
    CREATE TABLE audit (
        id uuid PRIMARY KEY, occurred_at timestamptz NOT NULL, recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        service text NOT NULL, actor_kind text NOT NULL, actor_id text NOT NULL, action text NOT NULL,
        resource_type text, resource_id text, outcome text NOT NULL, status smallint, reason text,
        request_id text, method text, route text, path text, client_address text, user_agent text,
        trace_id text, span_id text, changes jsonb NOT NULL
    );
    CREATE INDEX audit_resource ON audit (resource_type, resource_id, recorded_at, id);
    CREATE INDEX audit_actor ON audit (actor_id, recorded_at, id);
    CREATE INDEX audit_recorded_at ON audit (recorded_at, id);
    CREATE INDEX audit_action ON audit (action, recorded_at, id);
    CREATE INDEX audit_unsuccessful ON audit (outcome, recorded_at, id) WHERE outcome <> 'success';
    CREATE INDEX audit_trace_id ON audit (trace_id, recorded_at, id) WHERE trace_id IS NOT NULL;
    CREATE INDEX audit_request_id ON audit (request_id, recorded_at, id) WHERE request_id IS NOT NULL;
    GRANT INSERT ON audit TO {app}";

fn service(pool: PgPool) -> Router {
    Router::new()
        .route("/entries", post(create))
        .route("/imports", post(import))
        .with_state(pool)
}

async fn create(
    State(pool): State<PgPool>,
    request: RequestContext,
    Json(posted): Json<Posted>,
) -> Result<StatusCode, Failure> {
    let entry = Entry::from(posted);
    let mut tx = pool.begin().await?;
    insert(&mut *tx, &entry).await?;
    record(&mut tx, &request, &entry).await?;
    tx.commit().await?;
    Ok(StatusCode::CREATED)
}

async fn import(
    State(pool): State<PgPool>,
    request: RequestContext,
    Json(posted): Json<Vec<Posted>>,
) -> Result<StatusCode, Failure> {
    let entries = entries(posted);
    let mut tx = pool.begin().await?;
    insert_many(&mut *tx, &entries).await?;
    record_many(&mut tx, &request, &entries).await?;
    tx.commit().await?;
    Ok(StatusCode::CREATED)
}

/// The parts of a request that the record contains.
struct RequestContext {
    actor: String,
    request_id: Option<String>,
    method: String,
    route: Option<String>,
    path: String,
    address: Option<String>,
    user_agent: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let header = |name: &str| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
        Ok(Self {
            actor: header("x-actor").ok_or(StatusCode::UNAUTHORIZED)?,
            request_id: header("x-request-id"),
            method: parts.method.to_string(),
            route: parts
                .extensions
                .get::<MatchedPath>()
                .map(|it| it.as_str().to_owned()),
            path: parts.uri.path().to_owned(),
            address: parts
                .extensions
                .get::<ConnectInfo<SocketAddr>>()
                .map(|it| it.0.ip().to_string()),
            user_agent: header("user-agent"),
        })
    }
}

fn changes(entry: &Entry) -> Value {
    json!({"amount": {"after": entry.amount}, "note": {"after": entry.note}})
}

async fn record(
    tx: &mut PgTransaction<'_>,
    request: &RequestContext,
    entry: &Entry,
) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO audit (id, occurred_at, service, actor_kind, actor_id, action, resource_type, resource_id, outcome, status,
            request_id, method, route, path, client_address, user_agent, changes)
        VALUES ($1, now(), 'ledger', 'user', $2, $3, 'entry', $4, 'success', 201, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(Uuid::now_v7())
    .bind(&request.actor)
    .bind("entry.create")
    .bind(entry.id.to_string())
    .bind(&request.request_id)
    .bind(&request.method)
    .bind(&request.route)
    .bind(&request.path)
    .bind(&request.address)
    .bind(&request.user_agent)
    .bind(changes(entry))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn record_many(
    tx: &mut PgTransaction<'_>,
    request: &RequestContext,
    entries: &[Entry],
) -> Result<(), Failure> {
    let ids: Vec<_> = entries.iter().map(|_| Uuid::now_v7()).collect();
    let resources: Vec<_> = entries.iter().map(|entry| entry.id.to_string()).collect();
    let changes: Vec<_> = entries.iter().map(changes).collect();
    sqlx::query(
        "INSERT INTO audit (id, occurred_at, service, actor_kind, actor_id, action, resource_type, resource_id, outcome, status,
            request_id, method, route, path, client_address, user_agent, changes)
        SELECT id, now(), 'ledger', 'user', $4, $5, 'entry', resource, 'success', 201, $6, $7, $8, $9, $10, $11, changes
        FROM unnest($1::uuid[], $2::text[], $3::jsonb[]) AS it (id, resource, changes)",
    )
    .bind(ids)
    .bind(resources)
    .bind(changes)
    .bind(&request.actor)
    .bind("entry.import")
    .bind(&request.request_id)
    .bind(&request.method)
    .bind(&request.route)
    .bind(&request.path)
    .bind(&request.address)
    .bind(&request.user_agent)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
