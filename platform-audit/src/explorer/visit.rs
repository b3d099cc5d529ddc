//! One request: who asks, what for, and where the pages are.

use std::sync::Arc;

use axum::extract::OriginalUri;
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

/// A request that was admitted.
pub(super) struct Visit<DB: AuditDatabase> {
    pub(super) reading: Reading<DB>,
    pub(super) links: Links,
    pub(super) method: Method,
    /// The query's names and values, as given.
    pub(super) pairs: Vec<(String, String)>,
    pub(super) asked_at: Timestamp,
}

impl<DB: AuditDatabase> Visit<DB> {
    /// Asks whether the request may be shown anything; else answers the page that says no.
    pub(super) async fn enter<A: Access>(
        site: &Arc<Site<DB, A>>,
        mut parts: Parts,
    ) -> Result<Self, Response> {
        let inside = parts.uri.clone();
        if let Some(OriginalUri(whole)) = parts.extensions.get() {
            parts.uri = whole.clone();
        }
        let whole = parts.uri.path();
        let base = whole.strip_suffix(inside.path()).unwrap_or(whole);
        let base = base.trim_end_matches('/').to_owned();
        let links = Links::new(base);
        if is_sent_by_another_site(&parts, inside.path()) {
            let what = "Another site's page asked for this in your name: open it yourself.";
            return Err(problem(&links, StatusCode::FORBIDDEN, what));
        }
        let visitor = match site.access.admit(&parts).await {
            Ok(visitor) => visitor,
            Err(refusal) => return Err(refused(&links, refusal, site.access.challenge())),
        };
        let mut reading = site.reader.asked_by(visitor.actor).through(&parts);
        if let Some(reason) = visitor.reason {
            reading = reading.because(reason);
        }
        let query = parts.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        Ok(Self {
            reading,
            links,
            method: parts.method.clone(),
            pairs: pairs.into_owned().collect(),
            asked_at: Timestamp::now(),
        })
    }

    /// The first value of this name; empty if there is none.
    pub(super) fn value(&self, name: &str) -> &str {
        let pair = self.pairs.iter().find(|(given, _)| given == name);
        pair.map_or("", |(_, value)| value)
    }

    /// Where the page begins.
    pub(super) fn cursor(&self) -> Result<Option<Cursor>, Error> {
        match self.value("cursor") {
            "" => Ok(None),
            cursor => cursor.parse().map(Some),
        }
    }

    /// A page that says only what is wrong.
    pub(super) fn problem(&self, status: StatusCode, what: &str) -> Response {
        problem(&self.links, status, what)
    }

    /// The page for an error of the readings.
    pub(super) fn failed(&self, error: &Error) -> Response {
        let (status, what) = explained(error);
        self.problem(status, &what)
    }
}

/// Whether a page of another site sent for this, by its images, frames or prefetches, say: with the
/// password that a browser keeps, each reading would name whoever has that page open. To follow a link
/// to a page is the visitor's own doing. Browsers say so themselves
/// ([Fetch Metadata](https://www.w3.org/TR/fetch-metadata/)). Of headers that are there twice, each counts.
fn is_sent_by_another_site(parts: &Parts, inside: &str) -> bool {
    let says = |name: &str, what: &[&str]| {
        let values = parts.headers.get_all(name).iter();
        let mut words = values.filter_map(|it| it.to_str().ok());
        words.any(|it| what.iter().any(|word| it.eq_ignore_ascii_case(word)))
    };
    let by_another = says("sec-fetch-site", &["cross-site", "same-site"]);
    let into = parts.headers.get_all("sec-fetch-dest").iter();
    let mut into = into.map(HeaderValue::as_bytes);
    let is_page = into.next() == Some(b"document") && into.next().is_none();
    let is_ahead = parts.headers.contains_key("sec-purpose");
    let is_opened = is_page && !is_ahead && !inside.starts_with("/export");
    by_another && !is_opened
}

/// The status and the words for an error. A query that makes no sense is the asker's, all else the
/// service's.
pub(super) fn explained(error: &Error) -> (StatusCode, String) {
    match error {
        Error::InvalidQuery(_) => (StatusCode::BAD_REQUEST, error.to_string()),
        Error::Store(source) if is_of_a_value(source) => {
            let what = "A value of this address is none that the database compares: ask for the first page again.";
            (StatusCode::BAD_REQUEST, what.to_owned())
        }
        _ => {
            tracing::error!(error = %error, "the records could not be shown");
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
    }
}

/// Whether Postgres refused an argument, such as one of a cursor that was made by hand: no text, no
/// time, no number, or one that is out of range.
fn is_of_a_value(error: &sqlx::Error) -> bool {
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
    let body = html! { p.problem role="alert" { (super::escape::visible(what)) } };
    (status, page(links, title, &body)).into_response()
}

fn refused(links: &Links, refusal: Refusal, challenge: HeaderValue) -> Response {
    match refusal {
        Refusal::Unauthenticated => {
            let what = "The audit log is shown only to people it knows.";
            let mut answer = problem(links, StatusCode::UNAUTHORIZED, what);
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            answer
        }
        Refusal::Forbidden => {
            let what = "You may not look at this audit log.";
            problem(links, StatusCode::FORBIDDEN, what)
        }
    }
}
