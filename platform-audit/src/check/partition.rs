//! The names and bounds of the monthly partitions.

/// The partition for records outside every monthly partition.
pub(super) const DEFAULT_PARTITION: &str = "record_default";

/// A month with its own partition of records.
#[derive(Clone, Copy)]
pub(super) struct Month {
    year: u16,
    month: u8,
}

impl Month {
    /// Parses the name of a monthly partition, such as `record_2026_12`.
    pub(super) fn from_partition(name: &str) -> Option<Self> {
        let (year, month) = name.strip_prefix("record_")?.split_once('_')?;
        let has_digits = |text: &str, length| {
            text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        let parsed = Self {
            year: year.parse().ok().filter(|_| has_digits(year, 4))?,
            month: month.parse().ok().filter(|_| has_digits(month, 2))?,
        };
        (1..=12).contains(&parsed.month).then_some(parsed)
    }

    pub(super) fn partition(self) -> String {
        format!("record_{:04}_{:02}", self.year, self.month)
    }

    fn start(self) -> String {
        format!("{:04}-{:02}-01 00:00:00+00", self.year, self.month)
    }

    fn next(self) -> Self {
        match self.month {
            12 => Self {
                year: self.year + 1,
                month: 1,
            },
            month => Self {
                year: self.year,
                month: month + 1,
            },
        }
    }

    /// Replaces `{partition}`, `{from}` and `{to}` in `text`.
    pub(super) fn fill(self, text: &str) -> String {
        text.replace("{partition}", &self.partition())
            .replace("{from}", &self.start())
            .replace("{to}", &self.next().start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_a_monthly_partition_is_parsed() {
        let filled =
            |name| Month::from_partition(name).map(|month| month.fill("{partition} {from} {to}"));
        assert_eq!(
            filled("record_2026_12").as_deref(),
            Some("record_2026_12 2026-12-01 00:00:00+00 2027-01-01 00:00:00+00")
        );
        assert_eq!(
            filled("record_2026_01").as_deref(),
            Some("record_2026_01 2026-01-01 00:00:00+00 2026-02-01 00:00:00+00")
        );
        for other in [
            "record_2026_00",
            "record_2026_13",
            "record_2026_1",
            "record_026_01",
            "record_+026_01",
            "record_2026_+1",
            "record_2026_012",
            "record_default",
            "2026_01",
        ] {
            assert_eq!(filled(other), None, "{other}");
        }
    }
}
