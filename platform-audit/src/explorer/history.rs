//! The history of one resource, oldest first, with the values before and after each change.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{Markup, html};

use super::filters::query;
use super::html::{outcome, page, time};
use super::print_header::print_header;
use super::record::changes;
use super::request::Visit;
use super::table::pages;
use super::text::{brief, visible};
use crate::error::Error;
use crate::store::AuditDatabase;

pub(super) async fn show<DB: AuditDatabase>(visit: Visit<DB>) -> Response {
    // Validated like the filters, so that both accept the same values.
    if let Err(refused) = query(&visit.pairs) {
        let why: Vec<_> = refused.iter().map(ToString::to_string).collect();
        return visit.problem(StatusCode::BAD_REQUEST, &why.join(" "));
    }
    match render(&visit).await {
        Ok(body) => page(&visit.links, "History of a resource", &body).into_response(),
        Err(error) => visit.failed(&error),
    }
}

async fn render<DB: AuditDatabase>(visit: &Visit<DB>) -> Result<Markup, Error> {
    let (kind, id) = (visit.value("resource_type"), visit.value("resource_id"));
    let given = |name: &str| visit.pairs.iter().filter(|(it, _)| it == name).count();
    let is_one = given("resource_type") == 1 && given("resource_id") == 1;
    if kind.is_empty() || id.is_empty() || !is_one {
        let what = "a history shows one resource: give resource_type and resource_id once each";
        return Err(Error::InvalidQuery(what.to_owned()));
    }
    let cursor = visit.cursor()?;
    let found = visit.reading.history(kind, id, cursor.as_ref()).await?;
    let links = &visit.links;
    let pairs = ["resource_type", "resource_id"]
        .map(|name| (name.to_owned(), visit.value(name).to_owned()));
    let asked = [
        ("Resource type", kind.to_owned()),
        ("Resource id", id.to_owned()),
    ];
    let has_more = found.next.is_some() || found.previous.is_some();
    Ok(html! {
        (print_header(visit, &asked))
        p { (visible(kind)) " " (visible(id)) }
        @if found.records.is_empty() { p { "There are no records of this resource." } }
        ol.history {
            @for record in &found.records {
                li {
                    h2 {
                        a href=(links.at(&format!("/records/{}", record.id))) {
                            (time(record.recorded_at.unwrap_or(record.occurred_at)))
                        }
                        " " (brief(&record.action))
                    }
                    p { "By " (brief(&record.actor.id)) ", " (outcome(record))
                        @if let Some(reason) = &record.reason { ": " (brief(reason)) } }
                    (changes(record))
                }
            }
        }
        @if has_more { p { (found.records.len()) " records on this page, and more on others." } }
        (pages(links, "/history", &pairs, &found))
    })
}
