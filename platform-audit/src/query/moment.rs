use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned, civil};

use crate::error::Error;

/// A moment as people write it: so long ago (`7d`, `12h 30m`), an RFC 3339 time, or a day (UTC),
/// which is its beginning. A time may name its time zone, too, as in RFC 9557.
///
/// # Errors
///
/// [`Error::InvalidQuery`] when it is none of these, or its offset is not that of its time zone (RFC
/// 9557, section 3.4); without the feature `review`, the time zones are those that the system knows.
pub fn moment(text: &str) -> Result<Timestamp, Error> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return agreed(text, moment);
    }
    // Also a time without an offset parses as its day.
    if let Ok(day) = text.parse::<civil::Date>()
        && day.to_string() == text
        && let Ok(moment) = day.to_zoned(TimeZone::UTC)
    {
        return Ok(moment.timestamp());
    }
    let now = Zoned::new(Timestamp::now(), TimeZone::UTC);
    text.parse::<Span>()
        .and_then(|ago| now.checked_sub(ago.abs()))
        .map(|moment| moment.timestamp())
        .map_err(|_| {
            let what = "write how long ago, such as 7d or 12h, or a time, such as 2026-10-01 or, with its offset, 2026-10-01T08:00:00Z";
            Error::InvalidQuery(what.to_owned())
        })
}

/// `moment`, unless `text` names a time zone that has another offset then: a `Timestamp` is parsed by
/// its offset alone.
fn agreed(text: &str, moment: Timestamp) -> Result<Timestamp, Error> {
    if !text.contains('[') {
        return Ok(moment);
    }
    // Refuses a conflict by itself.
    match text.parse::<Zoned>() {
        Ok(zoned) if zoned.timestamp() == moment => Ok(moment),
        _ => Err(Error::InvalidQuery(format!(
            "`{text}` has an offset that is not its time zone's at that time, or a time zone that is not known: write the right offset, or leave out what is in brackets"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn a_moment_is_a_day_a_time_with_its_offset_or_so_long_ago() {
        for (text, expected) in [
            ("2026-10-01", "2026-10-01T00:00:00Z"),
            ("2026-10-01T18:00:00Z", "2026-10-01T18:00:00Z"),
            ("2026-10-01T18:00+02:00", "2026-10-01T16:00:00Z"),
            ("2026-10-01 18:00:00.5-05", "2026-10-01T23:00:00.5Z"),
        ] {
            assert_eq!(moment(text).unwrap().to_string(), expected, "{text}");
        }
        let ago = moment("12h").unwrap();
        assert!(ago < jiff::Timestamp::now() - jiff::SignedDuration::from_hours(11));
    }

    #[test]
    #[cfg(feature = "review")] // which brings the time zones along
    fn an_offset_that_is_not_the_time_zones_is_refused() {
        for text in [
            "2026-03-03T22:00:00+01:00[Europe/Berlin]",
            "2026-03-03T21:00:00Z[Europe/Berlin]",
            "2026-03-03T21:00:00Z[UTC]",
        ] {
            let read = moment(text).unwrap().to_string();
            assert_eq!(read, "2026-03-03T21:00:00Z", "{text}");
        }
        for text in [
            "2026-03-03T22:00:00+02:00[Europe/Berlin]",
            "2026-03-03T22:00:00+02:00[!Europe/Berlin]",
            "2026-07-03T22:00:00+01:00[Europe/Berlin]",
            "2026-03-03T22:00:00+02:00[+01:00]",
            "2026-03-03T22:00:00+01:00[Mars/Base]",
        ] {
            let error = moment(text).expect_err(text).to_string();
            assert!(error.contains("time zone"), "{error}");
        }
    }

    #[test]
    fn a_time_without_its_offset_is_no_day() {
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
            let error = moment(text).expect_err(text).to_string();
            assert!(error.contains("2026-10-01T08:00:00Z"), "{error}");
        }
    }
}
