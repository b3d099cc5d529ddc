//! Records against their seals.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::Deserialize;

use super::report::{Harm, HarmKind};
use crate::seal::canonical::{commit, differing};
use crate::seal::error::SealError;
use crate::store::{RecordRow, SealRow, SealSql};

/// Matches records, in any order, with their seals.
///
/// Both arrive roughly in the order in which they were written, so few of them wait for each other.
/// If they do not, as after a restore, a seal that waits takes about 200 bytes.
#[derive(Debug)]
pub(super) struct Matcher {
    sql: &'static dyn SealSql,
    seals: HashMap<[u8; 16], SealRow>,
    /// Rows of records whose seals have not arrived yet.
    records: HashMap<[u8; 16], Vec<Vec<u8>>>,
}

/// A record and its seal.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) row: Vec<u8>,
    pub(super) seal: SealRow,
}

/// A record that has no seal of its own.
#[derive(Debug)]
pub(super) struct Unmatched {
    pub(super) id: [u8; 16],
    pub(super) row: Vec<u8>,
}

impl Matcher {
    pub(super) fn new(sql: &'static dyn SealSql) -> Self {
        Self {
            sql,
            seals: HashMap::new(),
            records: HashMap::new(),
        }
    }

    pub(super) fn seal(&mut self, seal: SealRow) -> Option<Pair> {
        if let Entry::Occupied(mut waiting) = self.records.entry(seal.id) {
            // Of several records with this id, the one of the seal's time is the sealed one.
            let rows = waiting.get_mut();
            let sql = self.sql;
            let at = rows.iter().position(|row| {
                let record = sql.decode_record(row);
                record.is_ok_and(|it| it.recorded_at == seal.recorded_at)
            });
            let row = rows.swap_remove(at.unwrap_or(0));
            if rows.is_empty() {
                waiting.remove();
            }
            return Some(Pair { row, seal });
        }
        self.seals.insert(seal.id, seal);
        None
    }

    pub(super) fn record(&mut self, row: Vec<u8>) -> Result<Option<Pair>, SealError> {
        let id = self.sql.decode_id(&row)?;
        if let Some(seal) = self.seals.remove(&id) {
            return Ok(Some(Pair { row, seal }));
        }
        self.records.entry(id).or_default().push(row);
        Ok(None)
    }

    /// The number of seals whose records have not arrived yet.
    pub(super) fn waiting_seals(&self) -> usize {
        self.seals.len()
    }

    /// The seals without a record, by position, and the records without a seal.
    pub(super) fn finish(self) -> (Vec<SealRow>, Vec<Unmatched>) {
        let mut seals: Vec<_> = self.seals.into_values().collect();
        seals.sort_unstable_by_key(|seal| seal.position);
        let records = self.records.into_iter().flat_map(|(id, rows)| {
            let unmatched = move |row| Unmatched { id, row };
            rows.into_iter().map(unmatched)
        });
        (seals, records.collect())
    }
}

/// A partition of Postgres: the times that its records may have.
#[derive(Clone, Debug)]
pub(super) struct Partition {
    pub(super) oid: u32,
    pub(super) name: String,
    /// Microseconds since 1970, `start` inclusive and `end` exclusive. The default partition has
    /// none.
    pub(super) bounds: Option<(i64, i64)>,
}

/// A partition as Postgres describes it.
#[derive(Debug, Deserialize)]
pub(super) struct RawPartition {
    oid: u32,
    name: String,
    bounds: Option<String>,
}

impl From<RawPartition> for Partition {
    fn from(raw: RawPartition) -> Self {
        Self {
            oid: raw.oid,
            name: raw.name,
            bounds: raw.bounds.as_deref().and_then(parse_bounds),
        }
    }
}

/// Parses `FOR VALUES FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00')`.
fn parse_bounds(text: &str) -> Option<(i64, i64)> {
    let mut quoted = text.split('\'').skip(1).step_by(2);
    let mut moment = || {
        let text = quoted.next()?.replacen(' ', "T", 1);
        let text = match text.rfind(['+', '-']) {
            // An offset without minutes is not RFC 3339.
            Some(at) if at > 10 && text.len() - at == 3 => text + ":00",
            _ => text,
        };
        let moment: jiff::Timestamp = text.parse().ok()?;
        Some(moment.as_microsecond())
    };
    Some((moment()?, moment()?))
}

/// Compares a record with its seal. Returns what contradicts it.
pub(super) fn compare(
    sql: &dyn SealSql,
    pair: &Pair,
    partitions: &[Partition],
) -> Result<Option<Harm>, SealError> {
    let record = sql.decode_record(&pair.row)?;
    let seal = &pair.seal;
    let harm = |kind| Harm::new(kind).at(seal.position).of(&seal.id);
    if seal.erased.is_some() {
        return Ok(Some(erased(
            &record,
            seal,
            harm(HarmKind::ErasedWithoutRecord),
        )));
    }
    if commit(&record.values, &seal.salt).digest != seal.digest {
        if record.recorded_at != seal.recorded_at {
            return Ok(Some(harm(HarmKind::RecordedAtMismatch)));
        }
        return Ok(Some(
            match differing(&record.values, &seal.salt, &seal.hints) {
                Some(values) if !values.is_empty() => {
                    harm(HarmKind::Changed).what(values.join(", "))
                }
                _ => harm(HarmKind::CommitmentMismatch),
            },
        ));
    }
    if record.recorded_at != seal.recorded_at {
        return Ok(Some(harm(HarmKind::CommitmentMismatch).what("recorded_at")));
    }
    let misplaced = misplaced(&record, partitions);
    Ok(misplaced.map(|name| harm(HarmKind::WrongPartition).what(name)))
}

/// A seal with erased values. No entry of the log can say so yet, so this is always a
/// contradiction.
fn erased(record: &RecordRow<'_>, seal: &SealRow, harm: Harm) -> Harm {
    // The values that are present have the hints of the seal if they were written again.
    let present = commit(&record.values, &seal.salt);
    if present.hints == seal.hints && present.digest == seal.digest {
        return Harm {
            kind: HarmKind::ValueAfterErasure,
            ..harm
        };
    }
    harm
}

/// The name of the partition, if the record's time is outside its bounds.
fn misplaced(record: &RecordRow<'_>, partitions: &[Partition]) -> Option<String> {
    let partition = partitions.iter().find(|it| it.oid == record.partition)?;
    let (start, end) = partition.bounds?;
    let at: i64 = record.recorded_at.parse().ok()?;
    (at < start || at >= end).then(|| partition.name.clone())
}

#[cfg(test)]
mod tests {
    use super::parse_bounds;

    #[test]
    fn bounds_are_parsed_in_every_time_zone() {
        let expected = Some((1_796_083_200_000_000, 1_798_761_600_000_000));
        for text in [
            "FOR VALUES FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00')",
            "FOR VALUES FROM ('2026-12-01 05:30:00+05:30') TO ('2027-01-01 05:30:00+05:30')",
            "FOR VALUES FROM ('2026-11-30 19:00:00-05') TO ('2026-12-31 19:00:00-05')",
        ] {
            assert_eq!(parse_bounds(text), expected, "{text}");
        }
        assert_eq!(parse_bounds("DEFAULT"), None);
    }
}
