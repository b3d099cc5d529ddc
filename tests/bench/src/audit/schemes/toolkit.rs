//! platform-audit, without the check at COMMIT and with it.

use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::{Json, Router};
use platform_audit::routing::{self, post};
use platform_audit::{Actor, Audit, AuditTx, audited};
use sqlx::PgPool;

use super::{Failure, Posted, Scheme, entries, insert, insert_many};

pub(super) const UNGUARDED: Scheme = Scheme {
    key: "unguarded",
    name: "(c) platform-audit, no guard()",
    records: "ledger_audit.record",
    set_up: |pool| Box::pin(migrate(pool)),
    service: |pool| Box::pin(service(pool)),
};

pub(super) const GUARDED: Scheme = Scheme {
    key: "guarded",
    name: "(d) platform-audit, guard()",
    set_up: |pool| Box::pin(guard(pool)),
    ..UNGUARDED
};

async fn migrate(pool: &PgPool) {
    Audit::builder(pool.clone(), "ledger")
        .migrate()
        .await
        .expect("it migrates");
}

async fn guard(pool: &PgPool) {
    migrate(pool).await;
    super::run(pool, "SELECT ledger_audit.guard('entry')").await;
}

async fn service(pool: PgPool) -> Router {
    let audit = Audit::builder(pool, "ledger")
        .actor_from(|parts: &Parts| {
            let actor = parts.headers.get("x-actor")?.to_str().ok()?;
            Some(Actor::user(actor))
        })
        .development(true)
        .start()
        .await
        .expect("auditing starts");
    let router = routing::Router::new()
        .route("/entries", post(create))
        .route("/imports", post(import));
    Router::from(router).layer(audit.layer())
}

#[audited(action = "entry.create")]
async fn create(tx: &mut AuditTx, Json(posted): Json<Posted>) -> Result<StatusCode, Failure> {
    let entry = posted.into();
    insert(&mut *tx, &entry).await?;
    tx.created(&entry);
    Ok(StatusCode::CREATED)
}

#[audited(action = "entry.import")]
async fn import(tx: &mut AuditTx, Json(posted): Json<Vec<Posted>>) -> Result<StatusCode, Failure> {
    let entries = entries(posted);
    insert_many(&mut *tx, &entries).await?;
    for entry in &entries {
        tx.created(entry);
    }
    Ok(StatusCode::CREATED)
}
