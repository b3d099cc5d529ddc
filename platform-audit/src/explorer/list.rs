//! The list of records that match a query; for a single actor, also a summary of their actions.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use maud::{Markup, html};

use super::export;
use super::filters::{self, query};
use super::form::{bad_request, form};
use super::html::page;
use super::print_header::print_header;
use super::request::{Visit, status_and_message};
use super::table::{pages, table};
use super::text::{brief, visible};
use super::timeline::{DAYS, timeline, timeline_query};
use crate::error::Error;
use crate::query::{AuditQuery, GroupBy, MAX_VALUES};
use crate::store::AuditDatabase;

pub(super) async fn show<DB: AuditDatabase>(visit: Visit<DB>) -> Response {
    let query = match query(&visit.pairs) {
        Ok(query) => query,
        Err(errors) => return bad_request(&visit, &errors),
    };
    let (status, body) = match render(&visit, &query).await {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => {
            let (status, what) = status_and_message(&error);
            (
                status,
                html! { p.problem role="alert" { (visible(&what)) } },
            )
        }
    };
    let body = html! { (form(&visit, &[])) (body) };
    (status, page(&visit.links, "Records", &body)).into_response()
}

async fn render<DB: AuditDatabase>(visit: &Visit<DB>, query: &AuditQuery) -> Result<Markup, Error> {
    let cursor = visit.cursor()?;
    let found = visit.reading.page(query, cursor.as_ref()).await?;
    let links = &visit.links;
    let pairs = query.to_pairs();
    // Counting scans all records it counts, so only the first page has a timeline, limited to what
    // it shows.
    let counted = timeline_query(query, Timestamp::now());
    let has_more = found.next.is_some() || found.previous.is_some();
    let asked = filters::labelled_values(query);
    Ok(html! {
        (print_header(visit, &asked))
        @if cursor.is_none() && !found.records.is_empty() {
            @if query.since.is_none() {
                p { "The timeline counts the last " (DAYS) " days" @if query.until.is_some() { " of the period" } ". Name a period to count others." }
            }
            (timeline(links, &counted, &visit.reading.summary(&counted.query, counted.group).await?))
            @if query.actor.len() == 1 { (actions(visit, query, &counted.query).await?) }
        }
        section aria-labelledby="records" {
            h2 id="records" { "Found" }
            @if found.records.is_empty() {
                p { "No record matches." }
            } @else {
                p {
                    (found.records.len()) " on this page" @if has_more { ", and more on others" } ". "
                    span.screen { (export::links(links, &pairs)) }
                }
                (table(links, query, &found.records))
                (pages(links, "/", &pairs, &found))
            }
        }
    })
}

/// The actor's records, counted by action.
async fn actions<DB: AuditDatabase>(
    visit: &Visit<DB>,
    query: &AuditQuery,
    counted: &AuditQuery,
) -> Result<Markup, Error> {
    let counts = visit.reading.summary(counted, GroupBy::Action).await?;
    Ok(html! {
        section aria-labelledby="actions" {
            h2 id="actions" { "This actor's actions" }
            ul.counts {
                @for count in &counts {
                    li {
                        @if let Some(only) = GroupBy::Action.narrow(query, &count.value) {
                            a href=(visit.links.to("/", only.to_pairs())) { (brief(&count.value)) }
                        }
                        " " (count.records)
                    }
                }
            }
            @if counts.len() >= MAX_VALUES { p.note { "These are the " (MAX_VALUES) " most frequent; there may be more." } }
        }
    })
}
