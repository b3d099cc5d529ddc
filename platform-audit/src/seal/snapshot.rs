//! Postgres' snapshots (`pg_snapshot`): which transactions have ended.

use std::str::FromStr;

/// The transactions below `xmax` have ended, except for `running`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) xmin: u64,
    pub(crate) xmax: u64,
    pub(crate) running: Vec<u64>,
}

impl Snapshot {
    /// Sees no transaction: 1 and 2 are not assigned to transactions of users.
    pub(crate) const NOTHING: Self = Self {
        xmin: 1,
        xmax: 1,
        running: Vec::new(),
    };

    /// Whether the transaction had ended.
    pub(crate) fn sees(&self, xid: u64) -> bool {
        xid < self.xmax && !self.running.contains(&xid)
    }

    /// This snapshot, without the transactions from `end` on.
    pub(crate) fn up_to(&self, end: u64) -> Self {
        Self {
            xmin: self.xmin.min(end),
            xmax: end,
            running: self
                .running
                .iter()
                .copied()
                .filter(|it| *it < end)
                .collect(),
        }
    }
}

impl FromStr for Snapshot {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(':');
        let (Some(xmin), Some(xmax), Some(running), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        let number = |text: &str| text.parse().map_err(|_| ());
        let running = running.split(',').filter(|text| !text.is_empty());
        Ok(Self {
            xmin: number(xmin)?,
            xmax: number(xmax)?,
            running: running.map(number).collect::<Result<_, _>>()?,
        })
    }
}

impl std::fmt::Display for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let running: Vec<_> = self.running.iter().map(ToString::to_string).collect();
        write!(f, "{}:{}:{}", self.xmin, self.xmax, running.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::Snapshot;

    #[test]
    fn a_snapshot_is_read_and_written_as_postgres_does() {
        for text in ["1:1:", "10:20:10,14,15", "5:6:5"] {
            let snapshot: Snapshot = text.parse().unwrap();
            assert_eq!(snapshot.to_string(), text);
        }
        for text in ["", "1:2", "1:2:3:4", "a:2:", "1:2:x"] {
            assert!(text.parse::<Snapshot>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_shortened_snapshot_does_not_see_what_comes_after_its_end() {
        let snapshot: Snapshot = "10:20:10,14".parse().unwrap();
        assert!(snapshot.sees(9) && snapshot.sees(19) && !snapshot.sees(14) && !snapshot.sees(20));
        let shortened = snapshot.up_to(14);
        assert_eq!(shortened.to_string(), "10:14:10");
        assert!(shortened.sees(13) && !shortened.sees(14) && !shortened.sees(15));
        assert_eq!(snapshot.up_to(8).to_string(), "8:8:");
    }
}
