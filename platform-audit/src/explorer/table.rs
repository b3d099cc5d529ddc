//! The table of records, and the pagination links.

use maud::{Markup, html};

use super::html::{outcome, time};
use super::links::Links;
use super::record::is_malformed;
use super::text::brief;
use crate::query::{AuditQuery, Cursor, Direction, Page, SortBy};
use crate::record::AuditRecord;

const COLUMNS: [(&str, SortBy); 8] = [
    ("Recorded", SortBy::RecordedAt),
    ("Actor", SortBy::Actor),
    ("Action", SortBy::Action),
    ("Resource", SortBy::ResourceType),
    ("Outcome", SortBy::Outcome),
    ("Status", SortBy::Status),
    ("Address", SortBy::ClientAddress),
    ("Reason", SortBy::Reason),
];

pub(super) fn table(links: &Links, query: &AuditQuery, records: &[AuditRecord]) -> Markup {
    html! {
        div.wide role="region" aria-label="Records" tabindex="0" {
            table {
                thead { tr { @for column in COLUMNS { (heading(links, query, column)) } } }
                tbody { @for record in records { (row(links, record)) } }
            }
        }
    }
}

/// A column heading that sorts by its column, or reverses the order.
fn heading(links: &Links, query: &AuditQuery, (name, by): (&str, SortBy)) -> Markup {
    let is_sorted = query.sort == by;
    let (order, mark) = match query.direction {
        Direction::Ascending => ("ascending", " ▲"),
        Direction::Descending => ("descending", " ▼"),
    };
    let next = match (is_sorted, query.direction) {
        (true, Direction::Descending) => Direction::Ascending,
        (true, Direction::Ascending) => Direction::Descending,
        (false, _) if by == SortBy::RecordedAt => Direction::Descending,
        (false, _) => Direction::Ascending,
    };
    let target = links.to("/", query.clone().sort(by, next).to_pairs());
    html! {
        th scope="col" aria-sort=[is_sorted.then_some(order)] {
            a href=(target) { (name) @if is_sorted { span aria-hidden="true" { (mark) } } }
        }
    }
}

fn row(links: &Links, record: &AuditRecord) -> Markup {
    let target = links.at(&format!("/records/{}", record.id));
    html! {
        tr {
            th scope="row" {
                a href=(target) { (time(record.recorded_at.unwrap_or(record.occurred_at))) }
                @if is_malformed(record) { p.refused { "Malformed record" } }
            }
            td data-label="Actor" { (brief(&record.actor.id)) }
            td data-label="Action" { (brief(&record.action)) }
            td data-label="Resource" {
                @if let Some(kind) = &record.resource_type { (brief(kind)) }
                @if let Some(id) = &record.resource_id { " " (brief(id)) }
            }
            td data-label="Outcome" { (outcome(record)) }
            td data-label="Status" { @if let Some(status) = record.status { (status) } }
            td data-label="Address" { @if let Some(address) = &record.client_address { (brief(address)) } }
            td data-label="Reason" { @if let Some(reason) = &record.reason { (brief(reason)) } }
        }
    }
}

/// Links to the previous and next page. `pairs` is the query.
pub(super) fn pages(links: &Links, path: &str, pairs: &[(String, String)], page: &Page) -> Markup {
    let link = |cursor: &Cursor| {
        let cursor = ("cursor".to_owned(), cursor.to_string());
        links.to(path, pairs.iter().cloned().chain([cursor]))
    };
    html! {
        nav.pages aria-label="Pages" {
            @if let Some(previous) = &page.previous {
                a rel="prev" href=(link(previous)) { "← Previous page" }
            }
            @if let Some(next) = &page.next {
                a rel="next" href=(link(next)) { "Next page →" }
            }
        }
    }
}
