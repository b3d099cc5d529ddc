//! How many records there are a day, as bars and as text.

use jiff::ToSpan;
use jiff::civil::Date;
use maud::{Markup, html};

use super::visit::Links;
use crate::query::{AuditQuery, Count};

/// How many days are shown, the last ones.
pub(super) const DAYS: u16 = 60;
/// The height of the highest bar, in the picture's units.
const HEIGHT: u64 = 60;

pub(super) fn timeline(links: &Links, query: &AuditQuery, counts: &[Count]) -> Markup {
    let days = without_gaps(counts);
    let most = days.iter().map(|(_, records)| *records).max();
    let most = most.unwrap_or(1).max(1);
    html! {
        section aria-labelledby="days" {
            h2 id="days" { "Records a day" }
            svg.days viewBox=(format!("0 0 {} {HEIGHT}", usize::from(DAYS) * 10)) preserveAspectRatio="none"
                role="img" aria-label=(format!("Bars of {} days; the most is {most} records", days.len())) {
                @for (place, (day, records)) in days.iter().enumerate() {
                    @let height = (records * HEIGHT / most).max(u64::from(*records > 0));
                    rect x=(place * 10) y=(HEIGHT - height) width="8" height=(height) {
                        title { (day) ": " (records) }
                    }
                }
            }
            @if let (Some((first, _)), Some((last, _))) = (days.first(), days.last()) {
                p { (first) " to " (last) ", in UTC; the highest bar is " (most) " records." }
            }
            details {
                summary { "The days in numbers" }
                ul.counts {
                    @for (day, records) in days.iter().rev() {
                        li { a href=(links.to("/", of_day(query, *day))) { (day) } " " (records) }
                    }
                }
            }
        }
    }
}

/// Each day from the first that has records to the last, also those that have none.
fn without_gaps(counts: &[Count]) -> Vec<(Date, u64)> {
    let mut days: Vec<(Date, u64)> = Vec::new();
    for count in counts {
        let Ok(day) = count.value.parse() else {
            continue;
        };
        while let Some((last, _)) = days.last()
            && let Ok(next) = last.checked_add(1.day())
            && next < day
        {
            days.push((next, 0));
        }
        days.push((day, count.records));
    }
    days.split_off(days.len().saturating_sub(usize::from(DAYS)))
}

/// The same query, of that day alone.
fn of_day(query: &AuditQuery, day: Date) -> Vec<(String, String)> {
    let mut query = query.clone();
    if let Ok(since) = format!("{day}T00:00:00Z").parse::<jiff::Timestamp>() {
        query.since = Some(since);
        query.until = Some(since + jiff::SignedDuration::from_hours(24));
    }
    query.to_pairs()
}

#[cfg(test)]
mod tests {
    use super::{Count, without_gaps};

    fn days(counts: &[(&str, u64)]) -> Vec<String> {
        let counts = counts.iter().map(|(day, records)| Count {
            value: (*day).to_owned(),
            records: *records,
        });
        let days = without_gaps(&counts.collect::<Vec<_>>());
        days.iter().map(|(day, n)| format!("{day} {n}")).collect()
    }

    #[test]
    fn a_day_without_records_has_its_place() {
        assert_eq!(
            days(&[("2026-02-27", 3), ("2026-03-01", 1)]),
            ["2026-02-27 3", "2026-02-28 0", "2026-03-01 1"]
        );
        assert!(days(&[]).is_empty());
    }

    #[test]
    fn the_last_days_are_shown() {
        let shown = days(&[("2024-01-01", 9), ("2026-01-01", 1), ("2026-03-01", 2)]);
        assert_eq!(shown.len(), 60);
        assert_eq!(shown[0], "2026-01-01 1");
        assert_eq!(shown[59], "2026-03-01 2");
    }
}
