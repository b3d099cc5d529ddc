//! The layout that all pages share.

use axum::response::Html;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use super::links::Links;
use crate::record::AuditRecord;

/// A complete page with `body` in its main element.
pub(super) fn page(links: &Links, title: &str, body: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – Audit log" }
                link rel="stylesheet" href=(links.at("/style.css"));
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header { nav aria-label="Audit log" { a href=(links.at("/")) { "Audit log" } } }
                main id="main" tabindex="-1" {
                    h1 { (title) }
                    (body)
                }
                footer { p { "Times are in UTC. Every view of these records is itself recorded." } }
            }
        }
    };
    Html(page.into_string())
}

/// A point in time, to the millisecond.
pub(super) fn time(at: Timestamp) -> Markup {
    html! {
        time datetime=(at) { (at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()) }
    }
}

/// The outcome as text.
pub(super) fn outcome(record: &AuditRecord) -> Markup {
    let word = record.outcome.as_str();
    html! { span.outcome.(word) { (word.replace('_', " ")) } }
}
