//! The query as a form, filled in as it was given, with what is refused beside its field.

use std::collections::BTreeSet;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{Markup, html};

use super::escape::visible;
use super::filters::{CHOICES, FIRST, LIMIT, OUTCOMES, Refused, TEXTS, in_plain, label};
use super::html::page;
use super::visit::Visit;
use crate::store::AuditDatabase;

/// How many unknown outcomes are shown.
const OTHERS: usize = 10;

/// The form, and before it a summary of what is refused, if anything is.
pub(super) fn form<DB: AuditDatabase>(visit: &Visit<DB>, refused: &[Refused]) -> Markup {
    let form = Form { visit, refused };
    html! {
        @if !refused.is_empty() { (summary(refused)) }
        (form.whole())
    }
}

fn summary(refused: &[Refused]) -> Markup {
    html! {
        div.problem role="alert" {
            p { "Nothing was looked up, as the filters are not understood:" }
            ul {
                @for Refused { name, why } in refused {
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
    refused: &'a [Refused],
}

impl<DB: AuditDatabase> Form<'_, DB> {
    fn whole(&self) -> Markup {
        let (first, more) = TEXTS.split_at(FIRST);
        let hidden = more.iter().map(|(name, _, _)| *name);
        let hidden = hidden.chain(CHOICES.map(|(name, _, _)| name));
        let is_open = hidden.chain([LIMIT.0]).any(|name| {
            // The links of a page set the order and the limit.
            let is_by_links = matches!(name, "sort" | "direction" | "limit");
            self.why(name).is_some() || (!is_by_links && !self.visit.value(name).is_empty())
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
                    aria-invalid=[why.map(|_| "true")] aria-describedby=[why.map(|_| why_id(name))];
                (beside(name, why))
            }
        }
    }

    /// All values of a filter, as one list.
    fn given(&self, name: &str) -> String {
        let pairs = self.visit.pairs.iter().filter(|(given, _)| given == name);
        let values: Vec<&str> = pairs.map(|(_, value)| value.as_str()).collect();
        values.join(",")
    }

    /// A choice. A value that is none of its words stays selected, so that it can be seen and mended.
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
                    aria-describedby=[why.map(|_| why_id(name))] {
                    @for option in options {
                        option value=(option) selected[*option == given] {
                            @if option.is_empty() { (none) } @else { (in_plain(option)) }
                        }
                    }
                    @if !options.contains(&given) { option value=(given) selected { (given) } }
                }
                (beside(name, why))
            }
        }
    }

    /// A box for each outcome, and for each other word that was given, so that it can be taken out.
    fn outcomes(&self) -> Markup {
        let why = self.why("outcome");
        let pairs = self.visit.pairs.iter();
        let given = pairs.filter(|(name, _)| name == "outcome");
        let given = given.flat_map(|(_, value)| value.trim().split(','));
        let given: Vec<&str> = given.filter(|it| !it.is_empty()).collect();
        let others: BTreeSet<_> = given.iter().filter(|it| !OUTCOMES.contains(it)).collect();
        html! {
            fieldset id="outcome" tabindex=[why.map(|_| "-1")] aria-describedby=[why.map(|_| why_id("outcome"))] {
                legend { "Outcome" }
                @for outcome in OUTCOMES.iter().chain(others.into_iter().take(OTHERS)) {
                    label.check {
                        input type="checkbox" name="outcome" value=(outcome) checked[given.contains(outcome)];
                        " " (in_plain(outcome))
                    }
                }
                (beside("outcome", why))
            }
        }
    }

    fn why(&self, name: &str) -> Option<&str> {
        let refused = self.refused.iter().find(|it| it.name == name);
        refused.map(|it| it.why.as_str())
    }
}

fn why_id(name: &str) -> String {
    format!("{name}-refused")
}

/// Why the field is refused.
fn beside(name: &str, why: Option<&str>) -> Markup {
    html! { @if let Some(why) = why { p.refused id=(why_id(name)) { (visible(why)) } } }
}

/// The form again, with what is wrong beside its fields.
pub(super) fn refused<DB: AuditDatabase>(visit: &Visit<DB>, wrong: &[Refused]) -> Response {
    let body = form(visit, wrong);
    let page = page(&visit.links, "Records", &body);
    (StatusCode::BAD_REQUEST, page).into_response()
}
