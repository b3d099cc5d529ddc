//! The records that a query asks for; with an actor, what that actor does.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use maud::{Markup, html};

use super::access::Access;
use super::escape::{brief, visible};
use super::filters::{form, query};
use super::html::page;
use super::table::{pages, table};
use super::timeline::timeline;
use super::visit::{Site, Visit, status};
use crate::error::Error;
use crate::query::{AuditQuery, GroupBy};
use crate::store::AuditDatabase;

pub(super) async fn show<DB: AuditDatabase, A: Access>(
    State(site): State<Arc<Site<DB, A>>>,
    parts: Parts,
) -> Response {
    let visit = match Visit::enter(&site, parts).await {
        Ok(visit) => visit,
        Err(refused) => return refused,
    };
    let (status, body) = match answer(&visit).await {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => {
            let said = html! { p.problem role="alert" { (visible(&error.to_string())) } };
            (status(&error), said)
        }
    };
    let body = html! { (form(&visit)) (body) };
    (status, page(&visit.links, "Records", &body)).into_response()
}

async fn answer<DB: AuditDatabase>(visit: &Visit<DB>) -> Result<Markup, Error> {
    let query = query(visit)?;
    let cursor = visit.cursor()?;
    let found = visit.reading.page(&query, cursor.as_ref()).await?;
    let links = &visit.links;
    let pairs = query.to_pairs();
    Ok(html! {
        // Counting reads all that the query asks for, so only the first page counts.
        @if cursor.is_none() && !found.records.is_empty() {
            (timeline(links, &query, &visit.reading.summary(&query, GroupBy::Day).await?))
            @if query.actor.is_some() { (actions(visit, &query).await?) }
        }
        section aria-labelledby="records" {
            h2 id="records" { "Found" }
            @if found.records.is_empty() {
                p { "No record matches." }
            } @else {
                p { (found.records.len()) " on this page. "
                    a href=(links.to("/export.jsonl", pairs.iter().cloned())) { "Export all as JSON Lines" } }
                (table(links, &query, &found.records))
                (pages(links, "/", &pairs, &found))
            }
        }
    })
}

/// What the actor does, by action.
async fn actions<DB: AuditDatabase>(
    visit: &Visit<DB>,
    query: &AuditQuery,
) -> Result<Markup, Error> {
    let counts = visit.reading.summary(query, GroupBy::Action).await?;
    Ok(html! {
        section aria-labelledby="actions" {
            h2 id="actions" { "This actor's actions" }
            ul.counts {
                @for count in &counts {
                    @let target = query.clone().action(&count.value).to_pairs();
                    li { a href=(visit.links.to("/", target)) { (brief(&count.value)) } " " (count.records) }
                }
            }
        }
    })
}
