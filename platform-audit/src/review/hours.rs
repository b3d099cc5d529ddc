use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

/// When work is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OfficeHours {
    /// From this time of the day on.
    pub from: Time,
    /// Before this time; if that is not after `from`, of the next day.
    pub until: Time,
    /// On these days, on which the hours begin; by default Monday to Friday.
    #[serde(default = "Day::of_work")]
    pub days: Vec<Day>,
    /// Where, as the IANA Time Zone Database calls it, such as `Europe/Berlin`; by default UTC.
    #[serde(default = "utc")]
    pub time_zone: String,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "their names say it")]
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
    fn of_work() -> Vec<Self> {
        use Day::{Friday, Monday, Thursday, Tuesday, Wednesday};
        vec![Monday, Tuesday, Wednesday, Thursday, Friday]
    }

    fn is(self, day: Weekday) -> bool {
        // Of both, Monday is the first.
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

    /// Whether it is in these hours, in `zone`, which is theirs.
    pub(super) fn hold(&self, moment: Timestamp, zone: &TimeZone) -> bool {
        let here = zone.to_datetime(moment);
        let (time, today) = (here.time(), here.date());
        let is_of = |day: Weekday| self.days.iter().any(|it| it.is(day));
        if self.from < self.until {
            return is_of(today.weekday()) && self.from <= time && time < self.until;
        }
        let since_yesterday = today.checked_sub(1.day()).map(jiff::civil::Date::weekday);
        (is_of(today.weekday()) && self.from <= time)
            || (since_yesterday.is_ok_and(is_of) && time < self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::{Day, OfficeHours};

    fn hold(hours: &OfficeHours, moment: &str) -> bool {
        hours.hold(moment.parse().unwrap(), &hours.zone().unwrap())
    }

    #[test]
    fn hours_are_those_of_the_place_also_when_clocks_change() {
        let berlin = OfficeHours {
            from: "08:00".parse().unwrap(),
            until: "18:00".parse().unwrap(),
            days: Day::of_work(),
            time_zone: "Europe/Berlin".to_owned(),
        };
        for (moment, expected) in [
            ("2026-11-24T07:00:00Z", true), // a Tuesday, 08:00 there
            ("2026-11-24T06:59:59Z", false),
            ("2026-11-24T17:00:00Z", false), // 18:00
            ("2026-07-07T06:00:00Z", true),  // summer: 08:00
            ("2026-07-07T16:00:00Z", false),
            ("2026-11-22T12:00:00Z", false), // a Sunday
            ("2026-11-22T23:30:00Z", false), // Monday there, at half past midnight
        ] {
            assert_eq!(hold(&berlin, moment), expected, "{moment}");
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let night = OfficeHours {
            from: "22:00".parse().unwrap(),
            until: "06:00".parse().unwrap(),
            days: vec![Day::Friday],
            time_zone: "UTC".to_owned(),
        };
        for (moment, expected) in [
            ("2026-11-27T22:00:00Z", true), // Friday
            ("2026-11-28T05:59:59Z", true), // Saturday morning
            ("2026-11-28T06:00:00Z", false),
            ("2026-11-28T22:00:00Z", false),
            ("2026-11-27T05:00:00Z", false), // of Thursday
        ] {
            assert_eq!(hold(&night, moment), expected, "{moment}");
        }
    }
}
