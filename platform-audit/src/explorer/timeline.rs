//! How many records there are a day, as bars and as text.

use maud::{Markup, html};

use super::visit::Links;
use crate::query::{AuditQuery, Count};

/// How many days are shown, the last ones.
pub(super) const DAYS: i64 = 60;
/// The height of the highest bar, in the picture's units.
const HEIGHT: u64 = 60;

pub(super) fn timeline(links: &Links, query: &AuditQuery, days: &[Count]) -> Markup {
    let shown = usize::try_from(DAYS).unwrap_or(usize::MAX);
    let (_, days) = days.split_at(days.len().saturating_sub(shown));
    let most = days.iter().map(|day| day.records).max().unwrap_or(1).max(1);
    html! {
        section aria-labelledby="days" {
            h2 id="days" { "Records a day" }
            svg.days viewBox=(format!("0 0 {} {HEIGHT}", DAYS * 10)) preserveAspectRatio="none"
                role="img" aria-label=(format!("Bars of {} days; the most is {most} records", days.len())) {
                @for (place, day) in days.iter().enumerate() {
                    @let height = (day.records * HEIGHT / most).max(1);
                    rect x=(place * 10) y=(HEIGHT - height) width="8" height=(height) {
                        title { (day.value) ": " (day.records) }
                    }
                }
            }
            details {
                summary { "The days in numbers" }
                ul.counts {
                    @for day in days.iter().rev() {
                        li { a href=(links.to("/", of_day(query, &day.value))) { (day.value) } " " (day.records) }
                    }
                }
            }
        }
    }
}

/// The same query, of that day alone.
fn of_day(query: &AuditQuery, day: &str) -> Vec<(String, String)> {
    let mut query = query.clone();
    if let Ok(since) = format!("{day}T00:00:00Z").parse::<jiff::Timestamp>() {
        query.since = Some(since);
        query.until = Some(since + jiff::SignedDuration::from_hours(24));
    }
    query.to_pairs()
}
