//! One request: its visitor, its query and the links of its page.

use std::sync::Arc;

use axum::extract::{FromRequestParts, OriginalUri};
use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use maud::html;

use super::access::{Access, Refusal};
use super::html::page;
use super::links::Links;
use crate::error::Error;
use crate::query::{AuditReader, Cursor, Reading};
use crate::store::AuditDatabase;

#[derive(Debug)]
pub(super) struct Site<DB: AuditDatabase, A> {
    pub(super) reader: AuditReader<DB>,
    pub(super) access: A,
    pub(super) trace_url: Option<String>,
}

/// An authorized request.
pub(super) struct Visit<DB: AuditDatabase> {
    pub(super) reading: Reading<DB>,
    pub(super) links: Links,
    pub(super) method: Method,
    /// The names and values of the URL's query, as given.
    pub(super) pairs: Vec<(String, String)>,
    pub(super) asked_at: Timestamp,
    pub(super) trace_url: Option<String>,
}

/// Authorizes the request, or responds with the error page.
impl<DB: AuditDatabase, A: Access> FromRequestParts<Arc<Site<DB, A>>> for Visit<DB> {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        site: &Arc<Site<DB, A>>,
    ) -> Result<Self, Response> {
        let inside = parts.uri.clone();
        if let Some(OriginalUri(whole)) = parts.extensions.get() {
            parts.uri = whole.clone();
        }
        let whole = parts.uri.path();
        let base = whole.strip_suffix(inside.path()).unwrap_or(whole);
        let base = base.trim_end_matches('/').to_owned();
        let links = Links::new(base);
        if is_cross_site_subrequest(parts, inside.path()) {
            let what = "Another site's page requested this on your behalf: open it yourself.";
            return Err(problem(&links, StatusCode::FORBIDDEN, what));
        }
        let visitor = match site.access.authorize(parts).await {
            Ok(visitor) => visitor,
            Err(refusal) => return Err(refused(&links, refusal, site.access.challenge())),
        };
        let mut reading = site.reader.read_as(visitor.actor).via_request(parts);
        if let Some(reason) = visitor.reason {
            reading = reading.with_reason(reason);
        }
        let query = parts.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        Ok(Self {
            reading,
            links,
            method: parts.method.clone(),
            pairs: pairs.into_owned().collect(),
            asked_at: Timestamp::now(),
            trace_url: site.trace_url.clone(),
        })
    }
}

impl<DB: AuditDatabase> Visit<DB> {
    /// The first value of this name; empty if there is none.
    pub(super) fn value(&self, name: &str) -> &str {
        let pair = self.pairs.iter().find(|(given, _)| given == name);
        pair.map_or("", |(_, value)| value)
    }

    /// The cursor of the requested page.
    pub(super) fn cursor(&self) -> Result<Option<Cursor>, Error> {
        match self.value("cursor") {
            "" => Ok(None),
            cursor => cursor.parse().map(Some),
        }
    }

    /// An error page.
    pub(super) fn problem(&self, status: StatusCode, what: &str) -> Response {
        problem(&self.links, status, what)
    }

    /// The error page for a failed read.
    pub(super) fn failed(&self, error: &Error) -> Response {
        let (status, what) = status_and_message(error);
        self.problem(status, &what)
    }
}

/// Whether another site's page caused this request, for example through an image, a frame or a
/// prefetch. The browser would authenticate it with a stored password, and the read would be
/// recorded for a visitor who did not intend it. Following a link is the visitor's own action.
///
/// Browsers state this in [Fetch Metadata](https://www.w3.org/TR/fetch-metadata/) headers. If a
/// header is repeated, each value counts.
fn is_cross_site_subrequest(parts: &Parts, inside: &str) -> bool {
    let has_value = |name: &str, what: &[&str]| {
        let values = parts.headers.get_all(name).iter();
        let mut words = values.filter_map(|it| it.to_str().ok());
        words.any(|it| what.iter().any(|word| it.eq_ignore_ascii_case(word)))
    };
    let is_cross_site = has_value("sec-fetch-site", &["cross-site", "same-site"]);
    let destinations = parts.headers.get_all("sec-fetch-dest").iter();
    let mut destinations = destinations.map(HeaderValue::as_bytes);
    let is_page = destinations.next() == Some(b"document") && destinations.next().is_none();
    let is_prefetch = parts.headers.contains_key("sec-purpose");
    let is_navigation = is_page && !is_prefetch && !inside.starts_with("/export");
    is_cross_site && !is_navigation
}

/// The status and the message for an error. An invalid query is a client error, everything else a
/// server error.
pub(super) fn status_and_message(error: &Error) -> (StatusCode, String) {
    match error {
        Error::InvalidQuery(_) => (StatusCode::BAD_REQUEST, error.to_string()),
        Error::Store(source) if is_argument_error(source) => {
            let what = "A value in this address cannot be compared by the database: request the first page again.";
            (StatusCode::BAD_REQUEST, what.to_owned())
        }
        _ => {
            tracing::error!(error = %error, "the records could not be shown");
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
    }
}

/// Whether Postgres rejected an argument, for example from a forged cursor: invalid text, time or
/// number, or one out of range.
fn is_argument_error(error: &sqlx::Error) -> bool {
    let database = error.as_database_error();
    let code = database.and_then(sqlx::error::DatabaseError::code);
    let codes = ["22021", "22007", "22008", "22P02", "22003"];
    code.is_some_and(|code| codes.contains(&&*code))
}

fn problem(links: &Links, status: StatusCode, what: &str) -> Response {
    let title = match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::BAD_REQUEST => "Not understood",
        StatusCode::UNAUTHORIZED => "Please sign in",
        StatusCode::FORBIDDEN => "Not allowed",
        _ => "Something went wrong",
    };
    let body = html! { p.problem role="alert" { (super::text::visible(what)) } };
    (status, page(links, title, &body)).into_response()
}

fn refused(links: &Links, refusal: Refusal, challenge: HeaderValue) -> Response {
    match refusal {
        Refusal::Unauthenticated => {
            let what = "You have to sign in to see the audit log.";
            let mut response = problem(links, StatusCode::UNAUTHORIZED, what);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            response
        }
        Refusal::Forbidden => {
            let what = "You may not view this audit log.";
            problem(links, StatusCode::FORBIDDEN, what)
        }
    }
}
