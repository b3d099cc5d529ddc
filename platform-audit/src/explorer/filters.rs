//! The query as a form, filled in as it was given, even where it is refused.

use maud::{Markup, html};

use super::visit::Visit;
use crate::error::Error;
use crate::query::AuditQuery;
use crate::store::AuditDatabase;

/// Name, label and hint of the fields that take text.
const TEXTS: [(&str, &str, &str); 15] = [
    ("since", "From", "7d, 2026-11-23 or 2026-11-23T14:30:00Z"),
    ("until", "Before", "2026-11-24"),
    ("actor", "Actor", "its id, exactly"),
    ("action", "Action", "entry.create or entry.*"),
    ("resource_type", "Resource type", "entry"),
    ("resource_id", "Resource id", ""),
    ("reason", "Reason contains", ""),
    ("tenant", "Tenant", ""),
    ("changed", "Changed field", "amount"),
    ("service", "Service", ""),
    ("client_address", "Client address", "192.0.2.7"),
    ("route", "Route", "/entries/{id}"),
    ("request_id", "Request id", ""),
    ("trace_id", "Trace id", "32 hexadecimal digits"),
    ("record_id", "Record id", ""),
];
/// How many of them are always shown.
const FIRST: usize = 7;
const KINDS: [&str; 5] = ["", "user", "service", "system", "anonymous"];
const METHODS: [&str; 8] = ["", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "QUERY"];
const OUTCOMES: [&str; 6] = [
    "success",
    "denied",
    "invalid",
    "failed",
    "panicked",
    "timed_out",
];
const SORTS: [&str; 17] = [
    "",
    "recorded_at",
    "occurred_at",
    "actor",
    "action",
    "resource_type",
    "resource_id",
    "outcome",
    "status",
    "tenant",
    "service",
    "client_address",
    "method",
    "route",
    "request_id",
    "trace_id",
    "reason",
];

/// The query that was asked.
pub(super) fn query<DB: AuditDatabase>(visit: &Visit<DB>) -> Result<AuditQuery, Error> {
    let pairs = visit.pairs.iter().filter(|(name, _)| name != "cursor");
    AuditQuery::from_pairs(pairs.map(|(name, value)| (name.as_str(), value.trim())))
}

pub(super) fn form<DB: AuditDatabase>(visit: &Visit<DB>) -> Markup {
    let (first, more) = TEXTS.split_at(FIRST);
    let is_open = more
        .iter()
        .any(|(name, _, _)| !visit.value(name).is_empty())
        || ["actor_kind", "method"]
            .iter()
            .any(|name| !visit.value(name).is_empty());
    html! {
        search {
            form method="get" action=(visit.links.at("/")) aria-label="Filter the records" {
                div.fields { @for field in first { (text(visit, field)) } }
                fieldset {
                    legend { "Outcome" }
                    @for outcome in OUTCOMES {
                        label.check {
                            input type="checkbox" name="outcome" value=(outcome)
                                checked[has_outcome(visit, outcome)];
                            " " (words(outcome))
                        }
                    }
                }
                details open[is_open] {
                    summary { "More filters and order" }
                    div.fields {
                        @for field in more { (text(visit, field)) }
                        (select(visit, "actor_kind", "Kind of actor", &KINDS))
                        (select(visit, "method", "Method", &METHODS))
                        (select(visit, "sort", "Sort by", &SORTS))
                        (select(visit, "direction", "Direction", &["", "descending", "ascending"]))
                        div {
                            label for="limit" { "Records a page" }
                            input id="limit" name="limit" inputmode="numeric" placeholder="100"
                                value=(visit.value("limit"));
                        }
                    }
                }
                p.actions {
                    button type="submit" { "Show" }
                    a href=(visit.links.at("/")) { "Clear" }
                }
            }
        }
    }
}

fn text<DB: AuditDatabase>(visit: &Visit<DB>, field: &(&str, &str, &str)) -> Markup {
    let (name, label, hint) = field;
    html! {
        div {
            label for=(name) { (label) }
            input id=(name) name=(name) value=(given(visit, name)) placeholder=(hint)
                autocomplete="off" spellcheck="false";
        }
    }
}

/// A choice; what was given and is none of its words stays one, so that it can be seen and mended.
fn select<DB: AuditDatabase>(
    visit: &Visit<DB>,
    name: &str,
    label: &str,
    options: &[&str],
) -> Markup {
    let given = given(visit, name);
    let given = given.as_str();
    html! {
        div {
            label for=(name) { (label) }
            select id=(name) name=(name) {
                @for option in options {
                    option value=(option) selected[*option == given] {
                        @if option.is_empty() { (if matches!(name, "sort" | "direction") { "(default)" } else { "(any)" }) } @else { (words(option)) }
                    }
                }
                @if !options.contains(&given) {
                    option value=(given) selected { (given) }
                }
            }
        }
    }
}

/// What was given, as one list.
fn given<DB: AuditDatabase>(visit: &Visit<DB>, name: &str) -> String {
    let pairs = visit.pairs.iter().filter(|(given, _)| given == name);
    let values: Vec<&str> = pairs.map(|(_, value)| value.as_str()).collect();
    values.join(",")
}

fn has_outcome<DB: AuditDatabase>(visit: &Visit<DB>, outcome: &str) -> bool {
    let mut given = visit.pairs.iter().filter(|(name, _)| name == "outcome");
    given.any(|(_, value)| value.split(',').any(|it| it == outcome))
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}
