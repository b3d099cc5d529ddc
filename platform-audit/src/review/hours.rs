use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

/// The weekly office hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OfficeHours {
    /// Inclusive start, as a local time.
    pub from: Time,
    /// Exclusive end, as a local time. If it is not after `from`, it is on the next day.
    pub until: Time,
    /// The days on which the hours start; Monday to Friday by default.
    #[serde(default = "Day::working_days")]
    pub days: Vec<Day>,
    /// The IANA time zone, such as `Europe/Berlin`; UTC by default.
    #[serde(default = "utc")]
    pub time_zone: String,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Day {
    fn working_days() -> Vec<Self> {
        use Day::{Friday, Monday, Thursday, Tuesday, Wednesday};
        vec![Monday, Tuesday, Wednesday, Thursday, Friday]
    }

    fn equals(self, day: Weekday) -> bool {
        // Both enumerations start with Monday.
        self as i8 == day.to_monday_zero_offset()
    }
}

fn utc() -> String {
    "UTC".to_owned()
}

impl OfficeHours {
    pub(super) fn zone(&self) -> Result<TimeZone, jiff::Error> {
        TimeZone::get(&self.time_zone)
    }

    /// Whether `time` is within the hours. `zone` is the result of [`zone`](Self::zone).
    pub(super) fn contain(&self, time: Timestamp, zone: &TimeZone) -> bool {
        let local = zone.to_datetime(time);
        let (time, today) = (local.time(), local.date());
        let is_listed = |day: Weekday| self.days.iter().any(|it| it.equals(day));
        if self.from < self.until {
            return is_listed(today.weekday()) && self.from <= time && time < self.until;
        }
        let yesterday = today.checked_sub(1.day()).map(jiff::civil::Date::weekday);
        (is_listed(today.weekday()) && self.from <= time)
            || (yesterday.is_ok_and(is_listed) && time < self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::{Day, OfficeHours};

    fn contain(hours: &OfficeHours, time: &str) -> bool {
        hours.contain(time.parse().unwrap(), &hours.zone().unwrap())
    }

    #[test]
    fn office_hours_follow_the_local_time_zone_and_daylight_saving() {
        let berlin = OfficeHours {
            from: "08:00".parse().unwrap(),
            until: "18:00".parse().unwrap(),
            days: Day::working_days(),
            time_zone: "Europe/Berlin".to_owned(),
        };
        for (time, expected) in [
            ("2026-11-24T07:00:00Z", true), // a Tuesday, 08:00 local time
            ("2026-11-24T06:59:59Z", false),
            ("2026-11-24T17:00:00Z", false), // 18:00
            ("2026-07-07T06:00:00Z", true),  // summer: 08:00
            ("2026-07-07T16:00:00Z", false),
            ("2026-11-22T12:00:00Z", false), // a Sunday
            ("2026-11-22T23:30:00Z", false), // Monday, 00:30 local time
        ] {
            assert_eq!(contain(&berlin, time), expected, "{time}");
        }
    }

    #[test]
    fn hours_past_midnight_belong_to_the_day_on_which_they_start() {
        let night = OfficeHours {
            from: "22:00".parse().unwrap(),
            until: "06:00".parse().unwrap(),
            days: vec![Day::Friday],
            time_zone: "UTC".to_owned(),
        };
        for (time, expected) in [
            ("2026-11-27T22:00:00Z", true), // Friday
            ("2026-11-28T05:59:59Z", true), // Saturday morning
            ("2026-11-28T06:00:00Z", false),
            ("2026-11-28T22:00:00Z", false),
            ("2026-11-27T05:00:00Z", false), // of Thursday
        ] {
            assert_eq!(contain(&night, time), expected, "{time}");
        }
    }
}
