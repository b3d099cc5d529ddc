//! Records against their seals.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::report::{Harm, HarmKind};
use crate::seal::canonical::{commit, differing};
use crate::seal::error::SealError;
use crate::store::{RecordRow, SealRow, SealSql};

/// Matches records, in any order, with their seals.
///
/// Both arrive roughly in the order in which they were written, so few of them wait for each other.
/// If they do not, as after a restore, a seal that waits takes about 200 bytes.
///
/// An id has one seal, which a unique index ensures. Its owner can drop the index, so a second seal
/// must not hide the first one.
#[derive(Debug)]
pub(super) struct Matcher {
    sql: &'static dyn SealSql,
    seals: HashMap<[u8; 16], SealRow>,
    /// Further seals of ids that are in `seals`.
    others: Vec<SealRow>,
    /// Rows of records whose seals have not arrived yet.
    records: HashMap<[u8; 16], Vec<Vec<u8>>>,
    /// A part of the id of each seal, to find ids that occur twice.
    parts: Vec<u64>,
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

/// What is left after all seals and records have arrived.
#[derive(Debug)]
pub(super) struct Rest {
    /// The seals without a record, by position.
    pub(super) seals: Vec<SealRow>,
    /// The records without a seal.
    pub(super) records: Vec<Unmatched>,
    /// The parts of ids that occur twice among the seals.
    pub(super) twice: HashSet<u64>,
}

/// The part of an id that is random in a UUID of version 7.
pub(super) fn part(id: &[u8; 16]) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = *id;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

impl Matcher {
    pub(super) fn new(sql: &'static dyn SealSql) -> Self {
        Self {
            sql,
            seals: HashMap::new(),
            others: Vec::new(),
            records: HashMap::new(),
            parts: Vec::new(),
        }
    }

    pub(super) fn seal(&mut self, seal: SealRow) -> Option<Pair> {
        self.parts.push(part(&seal.id));
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
        match self.seals.entry(seal.id) {
            Entry::Vacant(place) => {
                place.insert(seal);
            }
            Entry::Occupied(_) => self.others.push(seal),
        }
        None
    }

    pub(super) fn record(&mut self, row: Vec<u8>) -> Result<Option<Pair>, SealError> {
        let id = self.sql.decode_id(&row)?;
        if !self.others.is_empty() {
            let record = self.sql.decode_record(&row)?;
            let is_its = |it: &SealRow| it.id == id && it.recorded_at == record.recorded_at;
            if let Some(at) = self.others.iter().position(is_its) {
                let seal = self.others.swap_remove(at);
                return Ok(Some(Pair { row, seal }));
            }
        }
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

    pub(super) fn finish(mut self) -> Rest {
        let mut seals: Vec<_> = self.seals.into_values().chain(self.others).collect();
        seals.sort_unstable_by_key(|seal| seal.position);
        let records = self.records.into_iter().flat_map(|(id, rows)| {
            let unmatched = move |row| Unmatched { id, row };
            rows.into_iter().map(unmatched)
        });
        self.parts.sort_unstable();
        let twice = self.parts.windows(2).filter(|pair| pair[0] == pair[1]);
        Rest {
            seals,
            records: records.collect(),
            twice: twice.map(|pair| pair[0]).collect(),
        }
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

/// What was altered if the values still have the sealed hashes.
pub(super) const DIGEST: &str = "the digest";

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
                Some(values) if values.is_empty() => {
                    harm(HarmKind::CommitmentMismatch).what(DIGEST)
                }
                Some(values) => harm(HarmKind::Changed).what(values.join(", ")),
                None => harm(HarmKind::CommitmentMismatch).what("the salt"),
            },
        ));
    }
    if record.recorded_at != seal.recorded_at {
        return Ok(Some(
            harm(HarmKind::CommitmentMismatch).what("the time of the seal"),
        ));
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
