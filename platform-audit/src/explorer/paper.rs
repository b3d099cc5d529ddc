//! What a printed page says in place of the form and the links.

use maud::{Markup, html};

use super::escape::visible;
use super::html::time;
use super::visit::Visit;
use crate::store::AuditDatabase;

/// Who asked for what and when, which a printed page has in place of the form and the links.
pub(super) fn on_paper<DB: AuditDatabase>(visit: &Visit<DB>, asked: &[(&str, String)]) -> Markup {
    let origin = visit.reading.origin();
    html! {
        dl.paper {
            dt { "Audit log of" } dd { (visible(&origin.service)) }
            dt { "Asked by" } dd { (visible(&origin.reader)) }
            @if let Some(reason) = &origin.reason { dt { "For the reason" } dd { (visible(reason)) } }
            dt { "Asked at" } dd { (time(visit.asked_at)) " UTC" }
            @for (name, value) in asked { dt { (name) } dd { (visible(value)) } }
            @if asked.is_empty() { dt { "Asked for" } dd { "all records" } }
        }
    }
}
