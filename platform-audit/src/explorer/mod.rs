//! The explorer: HTML pages for compliance officers, on top of [`query`](crate::query).
//!
//! Feature `explorer`.
//!
//! A service mounts the explorer's router at any path and decides who has access:
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
//! A program that only reads records, without starting an [`Audit`](crate::Audit), uses
//! [`Explorer::new`].
//!
//! The explorer handles only GET and HEAD, needs no JavaScript and loads nothing from other
//! origins. Each view records its reads (action `audit.read`) before anything is shown. Record text
//! is escaped, and invisible characters are shown by code point, such as `‹U+202E›`.

mod access;
mod export;
mod filters;
mod form;
mod headers;
mod history;
mod html;
mod links;
mod list;
mod print_header;
mod record;
mod request;
mod table;
mod text;
mod timeline;

use std::sync::Arc;

use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

pub use access::{Access, BasicAuth, BearerToken, Refusal, Visitor};

use crate::query::AuditReader;
use crate::store::AuditDatabase;
use request::{Site, Visit};

/// The explorer of one service's records. See the [module](self).
#[derive(Debug)]
pub struct Explorer<DB: AuditDatabase, A> {
    site: Site<DB, A>,
}

impl<DB: AuditDatabase, A: Access> Explorer<DB, A> {
    /// Shows the log of `reader` to visitors that `access` authorizes.
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

    /// Sets the URL of the tracing UI, in which `{trace_id}` is replaced by the trace id, such as
    /// `https://traces.example.com/{trace_id}`. Without it, records do not link to traces.
    #[must_use]
    pub fn trace_url(mut self, template: impl Into<String>) -> Self {
        self.site.trace_url = Some(template.into());
        self
    }

    /// Returns the routes, for [`Router::nest`] at any path or to serve alone: `/`,
    /// `/records/{id}`, `/history`, `/export/{format}` and `/style.css`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/", get(list::show::<DB>))
            .route("/records/{id}", get(record::show::<DB>))
            .route("/history", get(history::show::<DB>))
            .route("/export/{format}", get(export::file::<DB>))
            .route("/style.css", get(headers::stylesheet))
            .fallback(not_found::<DB>)
            .with_state(Arc::new(self.site))
            .layer(map_response(headers::add_security_headers))
    }
}

async fn not_found<DB: AuditDatabase>(visit: Visit<DB>) -> Response {
    visit.problem(StatusCode::NOT_FOUND, "There is no such page.")
}
