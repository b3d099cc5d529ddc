//! The number of records per day, week or month, as a bar chart and as text.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use maud::{Markup, html};

use super::links::Links;
use crate::query::{AuditQuery, Count, GroupBy};

/// Days shown if the query has no start, and the maximum number of bars for days and weeks.
pub(super) const DAYS: i64 = 60;
/// Height of the highest bar, in SVG units.
const HEIGHT: u64 = 60;
/// Width of a bar with its gap, in SVG units, and the minimum number of bars there is room for.
const WIDTH: usize = 10;
const MIN_BARS: usize = 7;

/// The range of the timeline: the query, limited to the last days if it has no start, and the
/// length of each bar's period, chosen so that the whole range fits.
#[derive(Debug)]
pub(super) struct TimelineQuery {
    pub(super) query: AuditQuery,
    pub(super) group: GroupBy,
    /// The end of the range: that of the query, or now.
    last: Timestamp,
}

pub(super) fn timeline_query(query: &AuditQuery, now: Timestamp) -> TimelineQuery {
    let end = query.until.map_or(now, |until| until.min(now));
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
    TimelineQuery {
        query: AuditQuery { since, ..query },
        group,
        last: end
            .checked_sub(SignedDuration::from_micros(1))
            .unwrap_or(end),
    }
}

pub(super) fn timeline(links: &Links, counted: &TimelineQuery, counts: &[Count]) -> Markup {
    let TimelineQuery { query, group, .. } = counted;
    let group = *group;
    let (one, all) = words(group);
    let bars = counted.bars(counts);
    let most = bars.iter().map(|(_, records)| *records).max();
    let Some(most) = most.filter(|most| *most > 0) else {
        return html! {};
    };
    let width = WIDTH * bars.len().max(MIN_BARS);
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
                    @if group == GroupBy::Week { "Weeks from the Monday " }
                    (first) " to " (last)
                    ", in UTC; the highest bar is " (most) " records."
                }
            }
            details {
                summary { "The " (all) " in numbers" }
                ul.counts {
                    @for (name, records) in bars.iter().rev() {
                        li {
                            @if let Some(only) = group.narrow(query, name) {
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

impl TimelineQuery {
    /// Each day, week or month of the range, including those without records. Months start with the
    /// first that has records.
    fn bars(&self, counts: &[Count]) -> Vec<(String, u64)> {
        let (suffix, format) = match self.group {
            GroupBy::Month => ("-01", "%Y-%m"),
            _ => ("", "%Y-%m-%d"),
        };
        let known: BTreeMap<Date, u64> = counts
            .iter()
            .filter_map(|count| {
                let day = format!("{}{suffix}", count.value).parse().ok()?;
                Some((day, count.records))
            })
            .collect();
        let first = match self.query.since {
            Some(since) if self.group != GroupBy::Month => Some(self.period_start(since)),
            _ => known.keys().next().copied(),
        };
        // Records written since `now` are included, too.
        let last = self.period_start(self.last);
        let last = known.keys().next_back().map_or(last, |day| last.max(*day));
        let periods = std::iter::successors(first, |day| {
            day.checked_add(self.group.period_length()?).ok()
        });
        periods
            .take_while(|day| *day <= last)
            .map(|day| {
                let records = known.get(&day).copied().unwrap_or_default();
                (day.strftime(format).to_string(), records)
            })
            .collect()
    }

    /// The first day of the period that contains `time`.
    fn period_start(&self, time: Timestamp) -> Date {
        let day = TimeZone::UTC.to_datetime(time).date();
        match self.group {
            GroupBy::Month => day.first_of_month(),
            GroupBy::Week => {
                let days = i64::from(day.weekday().to_monday_zero_offset());
                day.checked_sub(days.days()).unwrap_or(day)
            }
            _ => day,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{AuditQuery, Count, GroupBy, TimelineQuery, timeline_query};

    const NOW: &str = "2026-11-27T12:00:00Z";

    fn asked(since: Option<&str>, until: Option<&str>) -> TimelineQuery {
        let time = |text: &str| -> Timestamp { format!("{text}T00:00:00Z").parse().unwrap() };
        let mut query = AuditQuery::new();
        query.since = since.map(time);
        query.until = until.map(time);
        timeline_query(&query, NOW.parse().unwrap())
    }

    fn bars(counted: &TimelineQuery, counts: &[(&str, u64)]) -> Vec<String> {
        let counts = counts.iter().map(|(value, records)| Count {
            value: (*value).to_owned(),
            records: *records,
        });
        let bars = counted.bars(&counts.collect::<Vec<_>>());
        bars.iter().map(|(name, n)| format!("{name} {n}")).collect()
    }

    #[test]
    fn periods_without_records_have_an_empty_bar() {
        let days = asked(Some("2026-02-26"), Some("2026-03-02"));
        assert_eq!(
            bars(&days, &[("2026-02-27", 3), ("2026-03-01", 1)]),
            [
                "2026-02-26 0",
                "2026-02-27 3",
                "2026-02-28 0",
                "2026-03-01 1"
            ]
        );
        let weeks = asked(Some("2026-09-09"), None);
        let weeks = bars(&weeks, &[("2026-09-21", 3), ("2026-10-05", 1)]);
        assert_eq!(weeks[..3], ["2026-09-07 0", "2026-09-14 0", "2026-09-21 3"]);
        assert_eq!(weeks.last().unwrap(), "2026-11-23 0", "the week of today");
        let months = asked(Some("1970-01-01"), None);
        assert_eq!(
            bars(&months, &[("2026-08", 3), ("2026-10", 1)]),
            ["2026-08 3", "2026-09 0", "2026-10 1", "2026-11 0"]
        );
        assert!(bars(&months, &[]).is_empty());
    }

    #[test]
    fn records_written_after_now_have_a_bar() {
        let days = asked(Some("2026-11-27"), None);
        assert_eq!(
            bars(&days, &[("2026-11-27", 3), ("2026-11-28", 1)]),
            ["2026-11-27 3", "2026-11-28 1"]
        );
    }

    #[test]
    fn the_whole_period_of_the_query_is_counted() {
        let of = |since: Option<&str>, until: Option<&str>| {
            let TimelineQuery { query, group, .. } = asked(since, until);
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
            ("2026-11-01", Some("9000-01-01"), GroupBy::Day),
        ] {
            assert_eq!(of(Some(since), until), expected(since, group), "{since}");
        }
    }
}
