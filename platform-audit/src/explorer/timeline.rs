//! How many records there are a day, a week or a month, as bars and as text.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::visit::Links;
use crate::query::{AuditQuery, Count, GroupBy};

/// How many days are shown where no beginning is named, and how many bars there are at most, as long
/// as they are of days or weeks.
pub(super) const DAYS: i64 = 60;
/// The height of the highest bar, in the picture's units.
const HEIGHT: u64 = 60;
/// How wide a bar is with the gap beside it.
const WIDTH: usize = 10;

/// The same query, of the last days only if it names no beginning; and by what it is counted, so that
/// all of it can be seen.
pub(super) fn counted(query: &AuditQuery, now: Timestamp) -> (AuditQuery, GroupBy) {
    let end = query.until.unwrap_or(now);
    let days = |days| SignedDuration::from_hours(24 * days);
    let begin = query.since.or_else(|| end.checked_sub(days(DAYS)).ok());
    let length = begin.map(|begin| end.duration_since(begin));
    let group = match length {
        Some(length) if length <= days(DAYS) => GroupBy::Day,
        Some(length) if length <= days(7 * DAYS) => GroupBy::Week,
        _ => GroupBy::Month,
    };
    let since = begin;
    let query = query.clone();
    (AuditQuery { since, ..query }, group)
}

pub(super) fn timeline(
    links: &Links,
    query: &AuditQuery,
    group: GroupBy,
    counts: &[Count],
) -> Markup {
    let (one, all) = words(group);
    let bars = without_gaps(group, counts);
    let most = bars.iter().map(|(_, records)| *records).max();
    let most = most.unwrap_or(1).max(1);
    let width = WIDTH * bars.len().max(usize::try_from(DAYS).unwrap_or_default());
    html! {
        section aria-labelledby="timeline" {
            h2 id="timeline" { "Records a " (one) }
            svg.timeline viewBox=(format!("0 0 {width} {HEIGHT}")) preserveAspectRatio="none"
                role="img" aria-label=(format!("Bars of {} {all}; the most is {most} records", bars.len())) {
                @for (place, (name, records)) in bars.iter().enumerate() {
                    @let height = (records * HEIGHT / most).max(u64::from(*records > 0));
                    rect x=(place * WIDTH) y=(HEIGHT - height) width="8" height=(height) {
                        title { (name) ": " (records) }
                    }
                }
            }
            @if let (Some((first, _)), Some((last, _))) = (bars.first(), bars.last()) {
                p {
                    @if group == GroupBy::Week { "Weeks from the Monday " (first) " to the one of " (last) }
                    @else { (first) " to " (last) }
                    ", in UTC; the highest bar is " (most) " records."
                }
            }
            details {
                summary { "The " (all) " in numbers" }
                ul.counts {
                    @for (name, records) in bars.iter().rev() {
                        li {
                            @if let Some(only) = group.only(query, name) {
                                a href=(links.to("/", only.to_pairs())) { (name) }
                            } @else { (name) }
                            " " (records)
                        }
                    }
                }
            }
        }
    }
}

fn words(group: GroupBy) -> (&'static str, &'static str) {
    match group {
        GroupBy::Month => ("month", "months"),
        GroupBy::Week => ("week", "weeks"),
        _ => ("day", "days"),
    }
}

/// Each period from the first that has records to the last, also those that have none.
fn without_gaps(group: GroupBy, counts: &[Count]) -> Vec<(String, u64)> {
    let (suffix, format) = match group {
        GroupBy::Month => ("-01", "%Y-%m"),
        _ => ("", "%Y-%m-%d"),
    };
    let name = |day: Date| day.strftime(format).to_string();
    let mut bars: Vec<(Date, u64)> = Vec::new();
    for count in counts {
        let Ok(day) = format!("{}{suffix}", count.value).parse() else {
            continue;
        };
        while let (Some((last, _)), Some(length)) = (bars.last(), group.length())
            && let Ok(next) = last.checked_add(length)
            && next < day
        {
            bars.push((next, 0));
        }
        bars.push((day, count.records));
    }
    bars.into_iter()
        .map(|(day, records)| (name(day), records))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{AuditQuery, Count, GroupBy, counted, without_gaps};

    fn bars(group: GroupBy, counts: &[(&str, u64)]) -> Vec<String> {
        let counts = counts.iter().map(|(value, records)| Count {
            value: (*value).to_owned(),
            records: *records,
        });
        let bars = without_gaps(group, &counts.collect::<Vec<_>>());
        bars.iter().map(|(name, n)| format!("{name} {n}")).collect()
    }

    #[test]
    fn a_period_without_records_has_its_place() {
        assert_eq!(
            bars(GroupBy::Day, &[("2026-02-27", 3), ("2026-03-01", 1)]),
            ["2026-02-27 3", "2026-02-28 0", "2026-03-01 1"]
        );
        assert_eq!(
            bars(GroupBy::Week, &[("2025-12-22", 3), ("2026-01-05", 1)]),
            ["2025-12-22 3", "2025-12-29 0", "2026-01-05 1"]
        );
        assert_eq!(
            bars(GroupBy::Month, &[("2025-12", 3), ("2026-02", 1)]),
            ["2025-12 3", "2026-01 0", "2026-02 1"]
        );
        assert!(bars(GroupBy::Day, &[]).is_empty());
    }

    #[test]
    fn all_of_the_period_that_is_named_is_counted() {
        let now = "2026-11-27T12:00:00Z".parse().unwrap();
        let of = |since: Option<&str>, until: Option<&str>| {
            let moment = |text: &str| format!("{text}T00:00:00Z").parse().unwrap();
            let mut query = AuditQuery::new();
            query.since = since.map(moment);
            query.until = until.map(moment);
            let (query, group) = counted(&query, now);
            (query.since.unwrap().strftime("%F").to_string(), group)
        };
        let expected = |since: &str, group| (since.to_owned(), group);
        assert_eq!(of(None, None), expected("2026-09-28", GroupBy::Day));
        assert_eq!(
            of(None, Some("2026-03-02")),
            expected("2026-01-01", GroupBy::Day)
        );
        for (since, until, group) in [
            ("2026-10-01", None, GroupBy::Day),
            ("2026-09-01", None, GroupBy::Week),
            ("2026-01-01", Some("2026-03-02"), GroupBy::Day),
            ("2026-01-01", Some("2026-03-03"), GroupBy::Week),
            ("2025-10-25", None, GroupBy::Week),
            ("2025-10-01", None, GroupBy::Month),
            ("1970-01-01", None, GroupBy::Month),
        ] {
            assert_eq!(of(Some(since), until), expected(since, group), "{since}");
        }
    }
}
