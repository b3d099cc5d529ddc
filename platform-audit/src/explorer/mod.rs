//! The page that compliance looks at: the records as HTML, over [`query`](crate::query).
//!
//! Feature `explorer`.
//!
//! A service mounts its router where it likes, and says who may look:
//!
//! ```
//! # #[cfg(feature = "postgres")]
//! # fn example(audit: &platform_audit::Audit<sqlx::Postgres>) -> axum::Router {
//! use axum::http::request::Parts;
//! use platform_audit::Actor;
//! use platform_audit::explorer::{Refusal, Visitor};
//!
//! let officers = |parts: &Parts| match parts.extensions.get::<Actor>() {
//!     Some(actor) if actor.tenant.as_deref() == Some("compliance") => Ok(Visitor::new(actor.clone())),
//!     Some(_) => Err(Refusal::Forbidden),
//!     None => Err(Refusal::Unauthenticated),
//! };
//! let explorer = audit
//!     .explorer(officers)
//!     .trace_url("https://traces.example.com/{trace_id}");
//! axum::Router::new().nest("/audit", explorer.router())
//! # }
//! ```
//!
//! What has the records, but starts no auditing, makes one with [`Explorer::new`].
//!
//! It answers GET and HEAD only, needs no JavaScript and loads nothing from elsewhere. Each view
//! leaves records of its readings (action `audit.read`) before anything is shown. What a record
//! holds is escaped, and characters that cannot be seen are shown as `‹U+202E›`.

mod access;
mod escape;
mod export;
mod filters;
mod form;
mod headers;
mod history;
mod html;
mod links;
mod list;
mod paper;
mod record;
mod table;
mod timeline;
mod visit;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::request::Parts;

pub use access::{Access, BasicAuth, BearerToken, Refusal, Visitor};

use crate::query::AuditReader;
use crate::store::AuditDatabase;
use visit::{Site, Visit};

/// The page over one service's records. See the [module](self).
#[derive(Debug)]
pub struct Explorer<DB: AuditDatabase, A> {
    site: Site<DB, A>,
}

impl<DB: AuditDatabase, A: Access> Explorer<DB, A> {
    /// Shows what `reader` reads to whom `access` admits.
    pub fn new(reader: AuditReader<DB>, access: A) -> Self {
        let trace_url = None;
        Self {
            site: Site {
                reader,
                access,
                trace_url,
            },
        }
    }

    /// Where a trace is shown: an address in which `{trace_id}` stands for the trace's id, such as
    /// `https://traces.example.com/{trace_id}`. Without it a record links no trace elsewhere.
    #[must_use]
    pub fn trace_url(mut self, template: impl Into<String>) -> Self {
        self.site.trace_url = Some(template.into());
        self
    }

    /// The routes, for [`Router::nest`] at any path or to serve alone: `/`, `/records/{id}`,
    /// `/history`, `/export/{format}` and `/style.css`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/", get(list::show::<DB, A>))
            .route("/records/{id}", get(record::show::<DB, A>))
            .route("/history", get(history::show::<DB, A>))
            .route("/export/{format}", get(export::file::<DB, A>))
            .route("/style.css", get(headers::stylesheet))
            .fallback(nothing::<DB, A>)
            .with_state(Arc::new(self.site))
            .layer(map_response(headers::strict))
    }
}

async fn nothing<DB: AuditDatabase, A: Access>(
    State(site): State<Arc<Site<DB, A>>>,
    parts: Parts,
) -> Response {
    match Visit::enter(&site, parts).await {
        Ok(visit) => visit.problem(StatusCode::NOT_FOUND, "There is no such page."),
        Err(refused) => refused.into_response(),
    }
}
