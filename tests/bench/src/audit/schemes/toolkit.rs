//! platform-audit, without the check at COMMIT and with it.

use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::{Json, Router};
use platform_audit::routing::{self, post};
use platform_audit::{Actor, Audit, AuditTx, audited};
use sqlx::PgPool;

use super::{Failure, Installation, Posted, Scheme, entries, insert, insert_many};

pub(super) const UNGUARDED: Scheme = Scheme {
    key: "unguarded",
    name: "(c) platform-audit, no guard()",
    records: "ledger_audit.record",
    set_up: |installation| Box::pin(unguarded(installation)),
    service: |pool| Box::pin(service(pool)),
};

pub(super) const GUARDED: Scheme = Scheme {
    key: "guarded",
    name: "(d) platform-audit, guard()",
    set_up: |installation| Box::pin(guarded(installation)),
    ..UNGUARDED
};

async fn migrate(installation: &Installation) {
    let builder = Audit::builder(installation.owner().clone(), "ledger");
    builder.migrate().await.expect("the migration succeeds");
    let granted = builder.grant(Some(installation.app()), None).await;
    granted.expect("the owner may grant");
}

async fn unguarded(installation: &Installation) {
    migrate(installation).await;
    let exempt = "SELECT ledger_audit.exempt('entry', 'measured without the guard')";
    installation.run(exempt).await;
}

async fn guarded(installation: &Installation) {
    migrate(installation).await;
    installation.run("SELECT ledger_audit.guard('entry')").await;
}

async fn service(pool: PgPool) -> Router {
    let audit = Audit::builder(pool, "ledger")
        .actor_from(|parts: &Parts| {
            let actor = parts.headers.get("x-actor")?.to_str().ok()?;
            Some(Actor::user(actor))
        })
        .start()
        .await
        .expect("the check of the database finds nothing");
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
