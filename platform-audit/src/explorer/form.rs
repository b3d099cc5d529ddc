//! The filter form, filled in with the given values and with errors beside their fields.

use std::collections::BTreeSet;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{Markup, html};

use super::filters::{
    CHOICES, FieldError, LIMIT, OUTCOMES, TEXT_FIELDS, VISIBLE_FIELDS, label, readable,
};
use super::html::page;
use super::request::Visit;
use super::text::visible;
use crate::store::AuditDatabase;

/// Maximum number of unknown outcomes shown.
const MAX_UNKNOWN_OUTCOMES: usize = 10;

/// The form, preceded by a summary of the errors, if there are any.
pub(super) fn form<DB: AuditDatabase>(visit: &Visit<DB>, errors: &[FieldError]) -> Markup {
    let form = Form { visit, errors };
    html! {
        @if !errors.is_empty() { (summary(errors)) }
        (form.render())
    }
}

fn summary(errors: &[FieldError]) -> Markup {
    html! {
        div.problem role="alert" {
            p { "Nothing was looked up, because some filters are invalid:" }
            ul {
                @for FieldError { name, why } in errors {
                    li {
                        @if let Some(label) = label(name) { a href=(format!("#{name}")) { (label) } ": " }
                        (visible(why))
                    }
                }
            }
        }
    }
}

struct Form<'a, DB: AuditDatabase> {
    visit: &'a Visit<DB>,
    errors: &'a [FieldError],
}

impl<DB: AuditDatabase> Form<'_, DB> {
    fn render(&self) -> Markup {
        let (first, more) = TEXT_FIELDS.split_at(VISIBLE_FIELDS);
        let hidden = more.iter().map(|(name, _, _)| *name);
        let hidden = hidden.chain(CHOICES.map(|(name, _, _)| name));
        let is_open = hidden.chain([LIMIT.0]).any(|name| {
            // Pagination links set the order and the limit.
            let is_set_by_links = matches!(name, "sort" | "direction" | "limit");
            self.why(name).is_some() || (!is_set_by_links && !self.visit.value(name).is_empty())
        });
        let clear = self.visit.links.at("/");
        html! {
            search {
                form method="get" action=(clear) aria-label="Filter the records" {
                    div.fields { @for (name, label, hint) in first { (self.text(name, label, hint)) } }
                    (self.outcomes())
                    details open[is_open] {
                        summary { "More filters and order" }
                        div.fields {
                            @for (name, label, hint) in more { (self.text(name, label, hint)) }
                            @for (name, label, words) in &CHOICES { (self.choice(name, label, words)) }
                            (self.text(LIMIT.0, LIMIT.1, "100"))
                        }
                    }
                    p.actions {
                        button type="submit" { "Show" }
                        a href=(clear) { "Clear" }
                    }
                }
            }
        }
    }

    fn text(&self, name: &str, label: &str, hint: &str) -> Markup {
        let why = self.why(name);
        html! {
            div {
                label for=(name) { (label) }
                input id=(name) name=(name) value=(self.given(name)) placeholder=(hint)
                    autocomplete="off" spellcheck="false" inputmode=[(name == LIMIT.0).then_some("numeric")]
                    aria-invalid=[why.map(|_| "true")] aria-describedby=[why.map(|_| error_id(name))];
                (field_error(name, why))
            }
        }
    }

    /// All values of a filter, as one comma-separated list.
    fn given(&self, name: &str) -> String {
        let pairs = self.visit.pairs.iter().filter(|(given, _)| given == name);
        let values: Vec<&str> = pairs.map(|(_, value)| value.as_str()).collect();
        values.join(",")
    }

    /// A choice field. An unknown value stays selected, so that the user can see and correct it.
    fn choice(&self, name: &str, label: &str, options: &[&str]) -> Markup {
        let given = self.given(name);
        let given = given.trim();
        let why = self.why(name);
        let none = if matches!(name, "sort" | "direction") {
            "(default)"
        } else {
            "(any)"
        };
        html! {
            div {
                label for=(name) { (label) }
                select id=(name) name=(name) aria-invalid=[why.map(|_| "true")]
                    aria-describedby=[why.map(|_| error_id(name))] {
                    @for option in options {
                        option value=(option) selected[*option == given] {
                            @if option.is_empty() { (none) } @else { (readable(option)) }
                        }
                    }
                    @if !options.contains(&given) { option value=(given) selected { (given) } }
                }
                (field_error(name, why))
            }
        }
    }

    /// A checkbox for each outcome, and for each unknown value given, so that the user can clear
    /// it.
    fn outcomes(&self) -> Markup {
        let why = self.why("outcome");
        let pairs = self.visit.pairs.iter();
        let given = pairs.filter(|(name, _)| name == "outcome");
        let given = given.flat_map(|(_, value)| value.trim().split(','));
        let given: Vec<&str> = given.filter(|it| !it.is_empty()).collect();
        let others: BTreeSet<_> = given.iter().filter(|it| !OUTCOMES.contains(it)).collect();
        html! {
            fieldset id="outcome" tabindex=[why.map(|_| "-1")] aria-describedby=[why.map(|_| error_id("outcome"))] {
                legend { "Outcome" }
                @for outcome in OUTCOMES.iter().chain(others.into_iter().take(MAX_UNKNOWN_OUTCOMES)) {
                    label.check {
                        input type="checkbox" name="outcome" value=(outcome) checked[given.contains(outcome)];
                        " " (readable(outcome))
                    }
                }
                (field_error("outcome", why))
            }
        }
    }

    fn why(&self, name: &str) -> Option<&str> {
        let error = self.errors.iter().find(|it| it.name == name);
        error.map(|it| it.why.as_str())
    }
}

fn error_id(name: &str) -> String {
    format!("{name}-refused")
}

/// The error message beside its field.
fn field_error(name: &str, why: Option<&str>) -> Markup {
    html! { @if let Some(why) = why { p.refused id=(error_id(name)) { (visible(why)) } } }
}

/// A 400 response with the form and the errors beside their fields.
pub(super) fn bad_request<DB: AuditDatabase>(visit: &Visit<DB>, errors: &[FieldError]) -> Response {
    let body = form(visit, errors);
    let page = page(&visit.links, "Records", &body);
    (StatusCode::BAD_REQUEST, page).into_response()
}
