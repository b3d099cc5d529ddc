//! What is known after all records and entries were read: what is missing, and whether the tree is
//! the one that was signed.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::batches::{BATCH, has_root, tile_name};
use super::records::{Pair, Partition, Unmatched, compare};
use super::report::{Harm, HarmKind};
use super::run::Run;
use super::tree::WIDTH;
use crate::seal::error::SealError;
use crate::seal::log::{Restore, SealedLog};
use crate::seal::snapshot::Snapshot;
use crate::store::{AuditDatabase, SealRow};

impl Run {
    /// Seals without a record: single records, or whole months whose partition is gone.
    pub(super) async fn missing<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
        seals: &[SealRow],
    ) -> Result<(), SealError> {
        let has_partitions = !self.partitions.is_empty();
        let mut months: BTreeMap<String, Vec<&SealRow>> = BTreeMap::new();
        for seal in seals {
            let at: Option<i64> = seal.recorded_at.parse().ok();
            let is_covered = |partition: &Partition| {
                partition
                    .bounds
                    .is_some_and(|(start, end)| at.is_some_and(|at| at >= start && at < end))
            };
            let month = at.and_then(|at| jiff::Timestamp::from_microsecond(at).ok());
            match month {
                Some(month) if has_partitions && !self.partitions.iter().any(is_covered) => {
                    let month = month.strftime("%Y-%m").to_string();
                    months.entry(month).or_default().push(seal);
                }
                _ => self.missing_record(seal),
            }
        }
        for (month, seals) in months {
            // In the default partition there may be others of this month.
            if log.has_records_of(&month).await? {
                seals.into_iter().for_each(|seal| self.missing_record(seal));
            } else if let (Some(first), Some(last)) = (seals.first(), seals.last()) {
                let harm = Harm::new(HarmKind::RetiredWithoutRecord);
                let harm = harm.at(first.position).to(last.position + 1);
                let what = format!("{month}: {} records", seals.len());
                self.report.add(harm.what(what));
            }
        }
        Ok(())
    }

    fn missing_record(&mut self, seal: &SealRow) {
        let harm = Harm::new(HarmKind::Missing).at(seal.position);
        self.report.add(harm.of(&seal.id));
    }

    /// Records without a seal: new ones, or ones that the sealer should have seen.
    pub(super) async fn without_seal<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
        records: &[Unmatched],
    ) -> Result<(), SealError> {
        let seen: Option<Snapshot> = self.tree.as_ref().and_then(|it| it.seen.parse().ok());
        let queue: Option<HashSet<String>> = match log.sql.queue() {
            Some(statement) => Some(log.texts(statement).await?.into_iter().collect()),
            None => None,
        };
        // Sealed since the verification began.
        let sealed: HashSet<[u8; 16]> = log
            .seals(self.end, i64::MAX.cast_unsigned())
            .await?
            .into_iter()
            .map(|seal| seal.id)
            .collect();
        for unmatched in records {
            if sealed.contains(&unmatched.id) {
                continue;
            }
            let record = log.sql.decode_record(&unmatched.row)?;
            let is_late = match (&queue, &seen) {
                (Some(queue), _) => !queue.contains(&record.id_text),
                (None, Some(seen)) => seen.sees(record.xid),
                (None, None) => true,
            };
            let id = record.id_text.clone();
            match log.seal_of(&id).await? {
                // Sealed just now.
                Some(seal) if seal.position >= self.end => {}
                Some(seal) => self.duplicate(&unmatched.row, seal)?,
                None if is_late && self.end > 0 => {
                    let harm = Harm::new(HarmKind::UnsealedLate);
                    self.report.add(harm.of(&unmatched.id));
                }
                None => self.report.unsealed += 1,
            }
        }
        Ok(())
    }

    /// A record whose seal was compared with another record of the same id.
    fn duplicate(&mut self, row: &[u8], seal: SealRow) -> Result<(), SealError> {
        let (position, id) = (seal.position, seal.id);
        let row = row.to_vec();
        if compare(self.sql, &Pair { row, seal }, &self.partitions)?.is_none() {
            // This is the sealed one, so what was found is only that the other one differs.
            let before = self.report.findings.len();
            self.report.findings.retain(|harm| {
                harm.position != Some(position)
                    || !matches!(
                        harm.kind,
                        HarmKind::Changed
                            | HarmKind::CommitmentMismatch
                            | HarmKind::RecordedAtMismatch
                            | HarmKind::WrongPartition
                    )
            });
            self.report.found -= (before - self.report.findings.len()) as u64;
        }
        let harm = Harm::new(HarmKind::Duplicate).at(position);
        self.report.add(harm.of(&id));
        Ok(())
    }

    /// Ids with several seals. `hashes` are parts of the ids that occur more than once.
    pub(super) async fn sealed_twice<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
        hashes: HashSet<u64>,
    ) -> Result<(), SealError> {
        if hashes.is_empty() {
            return Ok(());
        }
        let mut seen = HashSet::new();
        let mut start = 0;
        while start < self.end {
            let until = (start + BATCH).min(self.end);
            for seal in log.seals(start, until).await? {
                if hashes.contains(&super::records::part(&seal.id)) && !seen.insert(seal.id) {
                    let harm = Harm::new(HarmKind::Duplicate).at(seal.position);
                    self.report.add(harm.of(&seal.id));
                }
            }
            start = until;
        }
        Ok(())
    }

    /// Entries whose records were lost by a restore that the log acknowledges, or not.
    pub(super) fn restored(&mut self) {
        for (position, id) in std::mem::take(&mut self.lost) {
            let is_acknowledged =
                |restore: &Restore| (restore.from..restore.to).contains(&position);
            let uuid = uuid::Uuid::from_bytes(id);
            if !self.restores.iter().any(is_acknowledged) {
                let harm = Harm::new(HarmKind::Missing);
                self.report.add(harm.at(position).of(&id));
            } else if self.sealed_again.contains(&id) {
                self.report.sealed_again.push(uuid);
            } else {
                self.report.lost_in_restore.push(uuid);
            }
        }
    }

    /// Whether the end of the log, or all of it, is gone.
    pub(super) fn ends(&mut self) {
        let size = self.check.size();
        let anchored = self
            .anchors
            .valid
            .iter()
            .filter(|it| it.is_external)
            .max_by_key(|it| it.checkpoint.size())
            .filter(|it| it.checkpoint.size() > self.end)
            .cloned();
        let expected = anchored
            .as_ref()
            .map_or(self.end, |it| it.checkpoint.size());
        if size == 0 && expected > 0 {
            let harm = Harm::new(HarmKind::LogMissing).at(0).to(expected);
            self.report.add(harm);
            return;
        }
        if size < self.end {
            let harm = Harm::new(HarmKind::Truncated).at(size).to(self.end);
            self.report.add(harm);
        }
        if let Some(anchor) = anchored {
            let harm = Harm::new(HarmKind::Rollback).at(self.end).to(expected);
            self.report.add(harm.what(anchor.name));
        }
    }

    /// The stored and the published tiles.
    pub(super) async fn tiles<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
    ) -> Result<(), SealError> {
        let size = self.check.size();
        let mut upper: HashMap<(u8, u64), ([u8; 32], Vec<u8>)> = HashMap::new();
        for level in 1..8_u8 {
            let end = size.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
            for (index, root, hashes) in log.tiles(level, 0, end).await? {
                upper.insert((level, index), (root, hashes));
            }
        }
        let mut compared = self.check.tiles();
        let tiles = self.check.upper().to_vec();
        for tile in &tiles {
            let (level, index) = (tile.id().level(), tile.id().index());
            match upper.get(&(level, index)) {
                Some((root, hashes)) if hashes == tile.bytes() && has_root(hashes, *root) => {
                    compared += 1;
                }
                _ => self.check.lose(tile_name(level, index)),
            }
        }
        if self.check.is_intact() {
            let full = size / WIDTH;
            let stored: HashSet<u64> = log.tile_indexes(full).await?;
            for index in (0..full).filter(|index| !stored.contains(index)) {
                self.check.lose(tile_name(0, index));
            }
        }
        self.report.checked.tiles = compared;
        let agreement = self.anchors.agreement(&self.check);
        if let Some(published) = &mut self.published {
            for tile in tiles.iter().chain(self.check.partial()) {
                published.tile(tile)?;
            }
            for name in published.differing(|size| agreement.covers(size)) {
                self.check.lose(name);
            }
        }
        let is_hashed_again = self.tree.as_ref().is_some_and(|tree| {
            let root = self.check.root(tree.size);
            root.is_some_and(|root| hex::encode(root.as_bytes()) == tree.root)
        });
        if is_hashed_again {
            self.check.set_hashed_again();
        }
        let (harms, more) = self.check.findings(|size| agreement.covers(size));
        self.report.found += more;
        for harm in harms {
            // The record's own finding says more.
            let is_known = self.report.findings.iter().any(|known| {
                known.position == harm.position
                    && known.kind == HarmKind::CommitmentMismatch
                    && harm.kind == HarmKind::SealDiffersFromTile
            });
            if !is_known {
                self.report.add(harm);
            }
        }
        Ok(())
    }

    /// The roots of the checkpoints, unless it is known which entries are wrong.
    pub(super) fn checkpoints(&mut self) {
        let agreed = self.anchors.agreement(&self.check).external.agreeing;
        let is_altered = |harm: &&Harm| {
            let digest = Some(super::records::DIGEST);
            harm.kind == HarmKind::CommitmentMismatch && harm.what.as_deref() == digest
        };
        // Without a tile, it is unknown what the tree would be without the altered digest.
        let altered = self.report.findings.iter().filter(is_altered);
        let altered = altered.filter_map(|harm| harm.position);
        let altered = altered.filter(|&at| self.check.is_without_tile(at)).min();
        let mut found: Vec<Harm> = Vec::new();
        for anchor in &self.anchors.valid {
            let size = anchor.checkpoint.size();
            let Some(root) = self.check.root(size) else {
                continue;
            };
            self.report.checked.checkpoints += 1;
            if root == anchor.checkpoint.root() {
                if anchor.is_external {
                    self.report.anchors.push(anchor.name.clone());
                    self.report.anchored = self.report.anchored.max(size);
                }
                continue;
            }
            let by_tiles = self.check.root_by_tiles(size);
            if by_tiles == Some(anchor.checkpoint.root()) || altered.is_some_and(|at| size > at) {
                continue;
            }
            // Another checkpoint from outside that covers as much says what the tree says: both
            // were signed, so somebody was shown another history.
            let other = self.anchors.valid.iter().find(|other| {
                let is_same = other.checkpoint.size() == size
                    && other.checkpoint.root() != anchor.checkpoint.root();
                let agrees = other.checkpoint.size() >= size
                    && self.check.root(other.checkpoint.size()) == Some(other.checkpoint.root());
                other.is_external && (is_same || agrees)
            });
            let harm = match other {
                Some(other) if anchor.is_external => {
                    let what = format!(
                        "{}:\n{}\n{}:\n{}",
                        anchor.name, anchor.note, other.name, other.note
                    );
                    Harm::new(HarmKind::SplitView).at(size).what(what)
                }
                _ if anchor.is_external => Harm::new(HarmKind::AnchorMismatch)
                    .at(size)
                    .what(anchor.name.clone()),
                _ => Harm::new(HarmKind::RootMismatch)
                    .at(size)
                    .what(anchor.name.clone()),
            };
            // Only the first one of each kind: all later ones differ, too.
            let is_known = found.iter().any(|known| match harm.kind {
                HarmKind::SplitView => known.kind == harm.kind && known.position == harm.position,
                _ => known.kind != HarmKind::SplitView,
            });
            if !is_known {
                found.push(harm);
            }
            // Two that contradict each other, while neither is the log's.
            let is_split = found
                .last()
                .is_some_and(|it| it.kind == HarmKind::SplitView);
            if is_split
                && agreed < size
                && !found.iter().any(|it| it.kind == HarmKind::AnchorMismatch)
            {
                let harm = Harm::new(HarmKind::AnchorMismatch).at(size);
                found.push(harm.what(anchor.name.clone()));
            }
        }
        found.into_iter().for_each(|harm| self.report.add(harm));
    }
}
