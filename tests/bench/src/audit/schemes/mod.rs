//! The compared ways to audit. Each is a service with the same two routes.

mod handwritten;
mod hash_chain;
mod row_trigger;
mod toolkit;
mod transaction_row;
mod unaudited;

use axum::Router;
use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use platform_audit::Auditable;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use uuid::Uuid;

use super::installation::Installation;

/// A way to audit changes.
pub(crate) struct Scheme {
    /// The name in the keys of figures.
    pub(crate) key: &'static str,
    /// The name in the documents.
    pub(crate) name: &'static str,
    /// The table of the audit records, or empty.
    pub(crate) records: &'static str,
    /// Creates the scheme's tables (`entry` exists), and grants the application role the privileges
    /// that the service needs.
    pub(crate) set_up: fn(&Installation) -> BoxFuture<'_, ()>,
    /// Creates the service.
    pub(crate) service: fn(PgPool) -> BoxFuture<'static, Router>,
}

/// The index of the scheme that the others are compared with.
pub(crate) const HANDWRITTEN: usize = 1;
pub(crate) const UNGUARDED: usize = 2;
pub(crate) const GUARDED: usize = 3;
pub(crate) const SCHEMES: [Scheme; 7] = [
    unaudited::SCHEME,
    handwritten::SCHEME,
    toolkit::UNGUARDED,
    toolkit::GUARDED,
    row_trigger::SCHEME,
    transaction_row::SCHEME,
    hash_chain::SCHEME,
];

pub(crate) const ENTRY: &str = "
    CREATE TABLE entry (id uuid PRIMARY KEY, amount bigint NOT NULL, note text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
    GRANT INSERT ON entry TO {app}";

/// The body of a request.
#[derive(Clone, Deserialize)]
struct Posted {
    amount: i64,
    note: String,
}

#[derive(Auditable, Serialize)]
#[audit(resource = "entry")]
struct Entry {
    #[audit(id)]
    id: Uuid,
    amount: i64,
    note: String,
}

impl From<Posted> for Entry {
    fn from(posted: Posted) -> Self {
        Self {
            id: Uuid::now_v7(),
            amount: posted.amount,
            note: posted.note,
        }
    }
}

const INSERT: &str = "INSERT INTO entry (id, amount, note) VALUES ($1, $2, $3)";
const INSERT_MANY: &str = "INSERT INTO entry (id, amount, note) SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[])";

async fn insert(executor: impl sqlx::PgExecutor<'_>, entry: &Entry) -> Result<(), Failure> {
    sqlx::query(INSERT)
        .bind(entry.id)
        .bind(entry.amount)
        .bind(&entry.note)
        .execute(executor)
        .await?;
    Ok(())
}

async fn insert_many(
    executor: impl sqlx::PgExecutor<'_>,
    entries: &[Entry],
) -> Result<(), Failure> {
    let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
    let amounts: Vec<_> = entries.iter().map(|entry| entry.amount).collect();
    let notes: Vec<_> = entries.iter().map(|entry| entry.note.as_str()).collect();
    sqlx::query(INSERT_MANY)
        .bind(ids)
        .bind(amounts)
        .bind(notes)
        .execute(executor)
        .await?;
    Ok(())
}

fn entries(posted: Vec<Posted>) -> Vec<Entry> {
    posted.into_iter().map(Entry::from).collect()
}

/// Any failure; the measurement ends at the first one.
struct Failure(sqlx::Error);

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self(error)
    }
}

impl axum::response::IntoResponse for Failure {
    fn into_response(self) -> axum::response::Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.0.to_string()).into_response()
    }
}
