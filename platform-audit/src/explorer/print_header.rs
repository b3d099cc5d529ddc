//! The header of a printed page, in place of the form and the links.

use maud::{Markup, html};

use super::html::time;
use super::request::Visit;
use super::text::visible;
use crate::store::AuditDatabase;

/// Who queried what and when.
pub(super) fn print_header<DB: AuditDatabase>(
    visit: &Visit<DB>,
    criteria: &[(&str, String)],
) -> Markup {
    let origin = visit.reading.origin();
    html! {
        dl.paper {
            dt { "Audit log of" } dd { (visible(&origin.service)) }
            dt { "Asked by" } dd { (visible(&origin.reader)) }
            @if let Some(reason) = &origin.reason { dt { "For the reason" } dd { (visible(reason)) } }
            dt { "Asked at" } dd { (time(visit.asked_at)) " UTC" }
            @for (name, value) in criteria { dt { (name) } dd { (visible(value)) } }
            @if criteria.is_empty() { dt { "Asked for" } dd { "all records" } }
        }
    }
}
