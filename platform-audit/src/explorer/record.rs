//! The page of one record, with all its attributes.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{Markup, html};
use serde_json::Value;
use uuid::Uuid;

use super::html::{outcome, page, time};
use super::links::Links;
use super::print_header::print_header;
use super::request::Visit;
use super::text::visible;
use crate::query::escape_value;
use crate::record::AuditRecord;
use crate::store::AuditDatabase;

/// Key in `details` for columns that could not be read.
const UNREADABLE: &str = "[unreadable]";

pub(super) async fn show<DB: AuditDatabase>(visit: Visit<DB>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<Uuid>() else {
        let what = "This is not a record id: a record id has 32 hexadecimal digits.";
        return visit.problem(StatusCode::BAD_REQUEST, what);
    };
    let records = match visit.reading.find_all(id).await {
        Ok(records) if records.is_empty() => {
            return visit.problem(StatusCode::NOT_FOUND, "There is no record with this id.");
        }
        Ok(records) => records,
        Err(error) => return visit.failed(&error),
    };
    let trace = visit.trace_url.as_deref();
    let asked = [("Record id", id.to_string())];
    let body = html! {
        (print_header(&visit, &asked))
        @if records.len() > 1 { (duplicate_warning(records.len())) }
        @for record in &records {
            (related_links(&visit.links, record, trace))
            h2 { "Changes" }
            (changes(record))
            h2 { "Elements" }
            (attributes(record))
        }
    };
    page(&visit.links, "Record", &body).into_response()
}

/// A warning that several records share an id: only the service's role can write an id again,
/// bypassing the toolkit.
fn duplicate_warning(records: usize) -> Markup {
    html! {
        div.problem {
            p { strong { (records) " records have this id." }
                " The first is the oldest; the others were inserted by the service's database role, not by the toolkit." }
        }
    }
}

/// Links to related records and to the trace.
fn related_links(links: &Links, record: &AuditRecord, trace_url: Option<&str>) -> Markup {
    let all = |name: &str, value: &str| links.to("/", [(name, escape_value(value))]);
    // A value that the filter would parse differently gets no link, rather than a link to other
    // records.
    let is_exact = |value: &&String| !value.is_empty() && value.trim() == value.as_str();
    let is_id = |id: &&String| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    html! {
        nav aria-label="Related" {
            ul.related {
                @if let (Some(kind), Some(id)) = (&record.resource_type, &record.resource_id) {
                    @let target = links.to("/history", [("resource_type", kind), ("resource_id", id)]);
                    li { a href=(target) { "History of this resource" } }
                }
                @if let Some(id) = Some(&record.actor.id).filter(is_exact) {
                    li { a href=(all("actor", id)) { "Same actor" } }
                }
                @if let Some(id) = record.request_id.as_ref().filter(is_exact) {
                    li { a href=(all("request_id", id)) { "Same request" } }
                }
                @if let Some(id) = &record.trace_id {
                    li { a href=(all("trace_id", id)) { "Same trace" } }
                }
                @if let (Some(url), Some(id)) = (trace_url, record.trace_id.as_ref().filter(is_id)) {
                    li { a href=(url.replace("{trace_id}", id)) rel="noreferrer" { "Open the trace" } }
                }
            }
        }
    }
}

/// The stored text of a malformed column. A record that was inserted with manual SQL may contain
/// malformed values; the reader moves their text to [`UNREADABLE`] in the details.
fn malformed<'a>(record: &'a AuditRecord, column: &str) -> Option<&'a str> {
    let of_column = |name: &String| name.split('.').next() == Some(column);
    let is_named = record.cut.iter().any(of_column);
    let stored = is_named.then(|| record.details.get(UNREADABLE)?.get(column)?.as_str());
    stored.flatten()
}

/// Whether any column of the record is malformed.
pub(super) fn is_malformed(record: &AuditRecord) -> bool {
    record.details.contains_key(UNREADABLE)
}

/// The changes, field by field.
pub(super) fn changes(record: &AuditRecord) -> Markup {
    let malformed = malformed(record, "changes");
    if malformed.is_none() && record.changes.is_empty() {
        return html! { p.note { "No field changed." } };
    }
    html! {
        @if let Some(stored) = malformed {
            div.problem {
                p { strong { "Malformed changes." } " What is stored is not a list of changed fields, so it is shown unchanged:" }
                pre { (visible(stored)) }
            }
        }
        @if !record.changes.is_empty() { (fields(record)) }
    }
}

fn fields(record: &AuditRecord) -> Markup {
    html! {
        div.wide role="region" aria-label="Changes" tabindex="0" {
            table.changes {
                thead { tr { th scope="col" { "Field" } th scope="col" { "Before" } th scope="col" { "After" } } }
                tbody {
                    @for (field, change) in &record.changes {
                        tr {
                            th scope="row" { (visible(field)) }
                            td data-label="Before" { (side(change.before.as_ref(), true)) }
                            td data-label="After" { (side(change.after.as_ref(), false)) }
                        }
                    }
                }
            }
        }
    }
}

fn side(value: Option<&Value>, is_before: bool) -> Markup {
    html! {
        @match (value, is_before) {
            (None, _) => span.note { "(absent)" },
            (Some(value), true) => del { (json(value)) },
            (Some(value), false) => ins { (json(value)) },
        }
    }
}

/// Raw JSON, so that strings and numbers can be distinguished.
fn json(value: &Value) -> Markup {
    visible(&format!("{value:#}").replace('\n', " "))
}

fn attributes(record: &AuditRecord) -> Markup {
    let actor = &record.actor;
    let kind = serde_json::to_value(actor.kind).unwrap_or_default();
    let status = record.status.map(|status| status.to_string());
    let texts = [
        ("Service", Some(&record.service)),
        ("Service version", record.service_version.as_ref()),
        ("Actor", Some(&actor.id)),
        ("Session", actor.session.as_ref()),
        ("Tenant", actor.tenant.as_ref()),
        ("On behalf of", actor.on_behalf_of.as_ref()),
        ("Action", Some(&record.action)),
        ("Resource type", record.resource_type.as_ref()),
        ("Resource id", record.resource_id.as_ref()),
        ("Status", status.as_ref()),
        ("Error type", record.error_type.as_ref()),
        ("Reason", record.reason.as_ref()),
        ("Request id", record.request_id.as_ref()),
        ("Method", record.method.as_ref()),
        ("Route", record.route.as_ref()),
        ("Path", record.path.as_ref()),
        ("Client address", record.client_address.as_ref()),
        ("User agent", record.user_agent.as_ref()),
        ("Trace id", record.trace_id.as_ref()),
        ("Span id", record.span_id.as_ref()),
        ("Transaction", record.xid.as_ref()),
    ];
    html! {
        dl {
            dt { "Record id" } dd { (record.id) }
            @if let Some(at) = record.recorded_at { dt { "Recorded" } dd { (time(at)) } }
            dt { "Occurred" } dd { (time(record.occurred_at)) }
            dt { "Outcome" } dd { (outcome(record)) }
            dt { "Kind of actor" } dd { (kind.as_str().unwrap_or_default()) }
            @for (name, text) in texts {
                dt { (name) }
                dd { @if let Some(text) = text { (visible(text)) } @else { span.note { "(none)" } } }
            }
            @for (name, value) in &record.details {
                @match value.as_object().filter(|_| name == UNREADABLE) {
                    Some(columns) => @for (column, stored) in columns {
                        dt { "Malformed " (visible(column)) }
                        dd { @match stored.as_str() { Some(stored) => (visible(stored)), None => (json(stored)) } }
                    },
                    None => { dt { "Detail " (visible(name)) } dd { (json(value)) } },
                }
            }
            @if !record.cut.is_empty() { dt { "Truncated or malformed" } dd { (visible(&record.cut.join(", "))) } }
        }
    }
}
