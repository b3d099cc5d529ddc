use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned, civil};

use crate::error::Error;

/// A moment as people write it: so long ago (`7d`, `12h 30m`), an RFC 3339 time, or a day (UTC),
/// which is its beginning.
///
/// # Errors
///
/// [`Error::InvalidQuery`] when it is none of these.
pub fn moment(text: &str) -> Result<Timestamp, Error> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let utc = |day: civil::Date| day.to_zoned(TimeZone::UTC);
    if let Ok(moment) = text.parse::<civil::Date>().and_then(utc) {
        return Ok(moment.timestamp());
    }
    let now = Zoned::new(Timestamp::now(), TimeZone::UTC);
    text.parse::<Span>()
        .and_then(|ago| now.checked_sub(ago.abs()))
        .map(|moment| moment.timestamp())
        .map_err(|_| {
            let what = "write how long ago, such as 7d or 12h, or a time, such as 2026-10-01 or 2026-10-01T08:00:00Z";
            Error::InvalidQuery(what.to_owned())
        })
}
