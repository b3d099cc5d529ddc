use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned, civil};

use crate::error::Error;

/// Parses a point in time as people write it:
/// - a duration in the past, such as `7d` or `12h 30m`;
/// - an RFC 3339 timestamp, optionally with a time zone as in RFC 9557;
/// - a date, meaning midnight UTC at its start.
///
/// # Errors
///
/// [`Error::InvalidQuery`] if the text is none of these, or if a timestamp's offset contradicts its
/// time zone (RFC 9557, section 3.4). Without the feature `review`, time zones come from the
/// system's database.
pub fn parse_time(text: &str) -> Result<Timestamp, Error> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return checked_offset(text, time);
    }
    // A timestamp without an offset also parses as a date.
    if let Ok(day) = text.parse::<civil::Date>()
        && day.to_string() == text
        && let Ok(time) = day.to_zoned(TimeZone::UTC)
    {
        return Ok(time.timestamp());
    }
    let now = Zoned::new(Timestamp::now(), TimeZone::UTC);
    text.parse::<Span>()
        .and_then(|ago| now.checked_sub(ago.abs()))
        .map(|time| time.timestamp())
        .map_err(|_| {
            let what = "write a duration in the past, such as 7d or 12h, a date such as 2026-10-01, or a time with its offset such as 2026-10-01T08:00:00Z";
            Error::InvalidQuery(what.to_owned())
        })
}

/// Returns `time`, unless `text` names a time zone with a different offset at that time: parsing a
/// `Timestamp` only looks at the offset.
fn checked_offset(text: &str, time: Timestamp) -> Result<Timestamp, Error> {
    if !text.contains('[') {
        return Ok(time);
    }
    // Parsing a `Zoned` rejects conflicting offsets.
    match text.parse::<Zoned>() {
        Ok(zoned) if zoned.timestamp() == time => Ok(time),
        _ => Err(Error::InvalidQuery(format!(
            "`{text}` has an unknown time zone, or an offset that is wrong for its time zone at that time: correct the offset, or leave out the part in brackets"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_time;

    #[test]
    fn a_time_is_a_date_a_timestamp_with_its_offset_or_a_duration_in_the_past() {
        for (text, expected) in [
            ("2026-10-01", "2026-10-01T00:00:00Z"),
            ("2026-10-01T18:00:00Z", "2026-10-01T18:00:00Z"),
            ("2026-10-01T18:00+02:00", "2026-10-01T16:00:00Z"),
            ("2026-10-01 18:00:00.5-05", "2026-10-01T23:00:00.5Z"),
        ] {
            assert_eq!(parse_time(text).unwrap().to_string(), expected, "{text}");
        }
        let ago = parse_time("12h").unwrap();
        assert!(ago < jiff::Timestamp::now() - jiff::SignedDuration::from_hours(11));
    }

    #[test]
    #[cfg(feature = "review")] // bundles the time zone database
    fn an_offset_that_contradicts_the_time_zone_is_refused() {
        for text in [
            "2026-03-03T22:00:00+01:00[Europe/Berlin]",
            "2026-03-03T21:00:00Z[Europe/Berlin]",
            "2026-03-03T21:00:00Z[UTC]",
        ] {
            let read = parse_time(text).unwrap().to_string();
            assert_eq!(read, "2026-03-03T21:00:00Z", "{text}");
        }
        for text in [
            "2026-03-03T22:00:00+02:00[Europe/Berlin]",
            "2026-03-03T22:00:00+02:00[!Europe/Berlin]",
            "2026-07-03T22:00:00+01:00[Europe/Berlin]",
            "2026-03-03T22:00:00+02:00[+01:00]",
            "2026-03-03T22:00:00+01:00[Mars/Base]",
        ] {
            let error = parse_time(text).expect_err(text).to_string();
            assert!(error.contains("time zone"), "{error}");
        }
    }

    #[test]
    fn a_timestamp_without_an_offset_is_refused() {
        for text in [
            "2026-10-01T18:00",
            "2026-10-01 18:00",
            "2026-10-01T18:00:00",
            "2026-10-01t18",
            "2026-10-01[Europe/Berlin]",
            "20261001",
            "yesterday",
            "",
        ] {
            let error = parse_time(text).expect_err(text).to_string();
            assert!(error.contains("2026-10-01T08:00:00Z"), "{error}");
        }
    }
}
