//! The verification of a log in a database.

use std::collections::{HashMap, HashSet};

use sqlx::Pool;
use tokio::task::JoinSet;

use super::Verify;
use super::anchors::Anchors;
use super::batches::{Batch, Source, has_root, tile_name};
use super::records::{Matcher, Pair, Partition, RawPartition, Unmatched, compare};
use super::report::{Harm, HarmKind, Verification};
use super::tree::{Expected, TreeCheck, WIDTH};
use crate::record::COLUMNS;
use crate::seal::canonical::{RECORD, RESTORE, parse_entry, record_entry};
use crate::seal::directory::Directory;
use crate::seal::error::SealError;
use crate::seal::log::{Restore, SealedLog, Tree};
use crate::seal::snapshot::Snapshot;
use crate::store::{AuditDatabase, SealRow, SealSql};
use platform_audit_tlog::tile::{Tile, TileId};

/// A record that is sealed more than this after later records, in microseconds: longer than a
/// transaction is followed.
const LATE: i64 = 24 * 3600 * 1_000_000;

/// The number of pairs that are compared at once.
const CHUNK: usize = 2_048;

/// Verifies the log in `schema`.
pub(crate) async fn verify<DB: AuditDatabase>(
    pool: &Pool<DB>,
    sql: &'static dyn SealSql,
    schema: &str,
    options: &Verify,
) -> Result<Verification, SealError> {
    if options.keys.is_empty() {
        return Err(SealError::Key(
            "no verifier key was given: pass the one that `platform-audit key new` printed"
                .to_owned(),
        ));
    }
    let source = Source {
        pool: pool.clone(),
        sql,
        schema: schema.to_owned(),
    };
    let mut run = Run::begin(&source, options).await?;
    run.compare_all(&source, options).await?;
    run.finish(&source).await
}

struct Run<'a> {
    report: Verification,
    anchors: Anchors,
    directory: Option<Directory>,
    partitions: Vec<Partition>,
    /// The state of the sealer when the verification began.
    tree: Option<Tree>,
    /// The position after the last one that should exist.
    end: u64,
    check: TreeCheck,
    matcher: Matcher,
    /// Entries of records that are in no seal: what a restore has lost.
    lost: Vec<(u64, [u8; 16])>,
    restores: Vec<Restore>,
    /// The latest `recorded_at` so far.
    latest: i64,
    seals: u64,
    pending: Vec<Pair>,
    comparing: JoinSet<Result<Vec<Harm>, SealError>>,
    sql: &'a dyn SealSql,
}

impl Run<'static> {
    async fn begin<DB: AuditDatabase>(
        source: &Source<DB>,
        options: &Verify,
    ) -> Result<Self, SealError> {
        let sql = source.sql;
        let mut connection = source.pool.acquire().await?;
        let mut log = SealedLog::<DB> {
            connection: &mut connection,
            sql,
            schema: &source.schema,
        };
        let mut anchors = Anchors::default();
        for stored in log.checkpoints().await? {
            let name = format!("the checkpoint of {} entries in the database", stored.size);
            anchors.largest_stored = anchors.largest_stored.max(stored.size);
            anchors.add(name, &stored.note, false, &options.keys);
        }
        let directory = options.tiles.clone().map(Directory::new);
        let mut report = Verification::default();
        if let Some(directory) = &directory {
            add_published(directory, &mut anchors, &mut report, options)?;
        }
        for (name, note) in &options.checkpoints {
            anchors.add(name.clone(), note, true, &options.keys);
        }
        anchors.sort();
        // After the checkpoints, as the log may grow meanwhile.
        let tree = log.json::<Tree>(sql.tree()).await?;
        let partitions = match sql.partitions() {
            Some(statement) => log
                .jsons::<RawPartition>(statement)
                .await?
                .into_iter()
                .map(Partition::from)
                .collect(),
            None => Vec::new(),
        };
        for column in log.texts(sql.columns()).await? {
            if !COLUMNS.iter().any(|known| known.name == column) {
                report.add(Harm::new(HarmKind::NewerSchema).what(column));
            }
        }
        let size = tree.as_ref().map_or(0, |tree| tree.size);
        let end = size.max(anchors.largest_stored);
        let sizes = anchors.valid.iter().map(|it| it.checkpoint.size());
        Ok(Self {
            check: TreeCheck::new(sizes.collect(), directory.is_some()),
            matcher: Matcher::new(sql),
            report,
            anchors,
            directory,
            partitions,
            tree,
            end,
            lost: Vec::new(),
            restores: Vec::new(),
            latest: i64::MIN,
            seals: 0,
            pending: Vec::new(),
            comparing: JoinSet::new(),
            sql,
        })
    }

    async fn compare_all<DB: AuditDatabase>(
        &mut self,
        source: &Source<DB>,
        options: &Verify,
    ) -> Result<(), SealError> {
        let mut batches = source.log(self.end);
        // SQLite may have a single connection, so its records are read afterwards.
        let is_concurrent = source.sql.partitions().is_some();
        let mut records = is_concurrent.then(|| source.records());
        while let Some(batch) = batches.recv().await {
            self.batch(batch?).await?;
            if let Some(progress) = &options.progress {
                progress(self.check.size(), self.end);
            }
            // About as many records as entries, so that few wait for each other.
            if let Some(records) = &mut records {
                while self.matcher.waiting_seals() > 0 {
                    match records.recv().await {
                        Some(rows) => self.records(rows?).await?,
                        None => break,
                    }
                }
            }
        }
        let mut records = records.unwrap_or_else(|| source.records());
        while let Some(rows) = records.recv().await {
            self.records(rows?).await?;
        }
        let pairs = std::mem::take(&mut self.pending);
        self.compare(pairs);
        while let Some(done) = self.comparing.join_next().await {
            self.add_compared(done)?;
        }
        Ok(())
    }

    async fn batch(&mut self, batch: Batch) -> Result<(), SealError> {
        for (index, tile) in batch.tiles {
            self.check.expect(index, tile);
        }
        for name in batch.damaged {
            self.check.lose(name);
        }
        // Where the database has no full tile, the published one says the same.
        if let Some(directory) = &self.directory {
            for index in self.check.size() / WIDTH..batch.end.div_ceil(WIDTH) {
                if !self.check.expects(index)
                    && let Some(tile) = published_tile(directory, index, self.end)?
                {
                    self.check.expect(index, tile);
                }
            }
        }
        let mut others = batch.entries.into_iter().peekable();
        for seal in batch.seals {
            while let Some((position, entry)) = others.next_if(|it| it.0 < seal.position) {
                self.other(position, &entry);
            }
            self.seal(seal).await?;
        }
        for (position, entry) in others {
            self.other(position, &entry);
        }
        Ok(())
    }

    async fn seal(&mut self, seal: SealRow) -> Result<(), SealError> {
        let entry = record_entry(&seal.id, &seal.digest);
        self.seals += 1;
        self.check.entry(seal.position, Some(seal.id), &entry);
        if let Ok(at) = seal.recorded_at.parse::<i64>() {
            // Until the first checkpoint, a log that existed before is sealed, in any order.
            let first = self.anchors.valid.first().map(|it| it.checkpoint.size());
            let is_new = first.is_some_and(|first| seal.position >= first);
            if is_new && self.latest.saturating_sub(at) > LATE {
                let harm = Harm::new(HarmKind::UnsealedLate);
                self.report.add(harm.at(seal.position).of(&seal.id));
            }
            self.latest = self.latest.max(at);
        }
        if let Some(pair) = self.matcher.seal(seal) {
            self.pair(pair).await?;
        }
        Ok(())
    }

    /// An entry that is not that of a seal.
    fn other(&mut self, position: u64, entry: &[u8]) {
        self.check.entry(position, None, entry);
        match parse_entry(entry) {
            Some((RECORD, body)) => {
                let id = body.first_chunk().copied().unwrap_or_default();
                self.lost.push((position, id));
            }
            Some((RESTORE, body)) => self.restores.extend(Restore::parse(body)),
            _ => {}
        }
    }

    async fn records(&mut self, rows: Vec<Vec<u8>>) -> Result<(), SealError> {
        for row in rows {
            if let Some(pair) = self.matcher.record(row)? {
                self.pair(pair).await?;
            }
        }
        Ok(())
    }

    async fn pair(&mut self, pair: Pair) -> Result<(), SealError> {
        self.report.checked.records += 1;
        self.pending.push(pair);
        if self.pending.len() < CHUNK {
            return Ok(());
        }
        let pairs = std::mem::replace(&mut self.pending, Vec::with_capacity(CHUNK));
        self.compare(pairs);
        let parallel = std::thread::available_parallelism().map_or(1, usize::from);
        while self.comparing.len() > parallel {
            if let Some(done) = self.comparing.join_next().await {
                self.add_compared(done)?;
            }
        }
        Ok(())
    }

    /// Compares records with their seals, on another thread.
    fn compare(&mut self, pairs: Vec<Pair>) {
        let sql = self.sql;
        let partitions = self.partitions.clone();
        self.comparing.spawn_blocking(move || {
            let mut found = Vec::new();
            for pair in &pairs {
                found.extend(compare(sql, pair, &partitions)?);
            }
            Ok(found)
        });
    }

    fn add_compared(
        &mut self,
        done: Result<Result<Vec<Harm>, SealError>, tokio::task::JoinError>,
    ) -> Result<(), SealError> {
        let found = done.map_err(SealError::malformed)??;
        found.into_iter().for_each(|harm| self.report.add(harm));
        Ok(())
    }

    async fn finish<DB: AuditDatabase>(
        mut self,
        source: &Source<DB>,
    ) -> Result<Verification, SealError> {
        let mut connection = source.pool.acquire().await?;
        let mut log = SealedLog::<DB> {
            connection: &mut connection,
            sql: source.sql,
            schema: &source.schema,
        };
        self.report.size = self.check.size();
        self.report.checked.entries = self.check.size();
        let matcher = std::mem::replace(&mut self.matcher, Matcher::new(source.sql));
        let (seals, records) = matcher.finish();
        self.missing(&seals);
        self.without_seal(&mut log, &records).await?;
        self.restored();
        self.ends();
        self.tiles(&mut log).await?;
        self.checkpoints();
        let findings = std::mem::take(&mut self.anchors.findings);
        findings.into_iter().for_each(|harm| self.report.add(harm));
        self.report.findings.sort_by_key(|harm| harm.position);
        Ok(self.report)
    }

    /// Seals without a record: single records, or whole months whose partition is gone.
    fn missing(&mut self, seals: &[SealRow]) {
        let has_partitions = !self.partitions.is_empty();
        let mut months: HashMap<String, (u64, u64, u64)> = HashMap::new();
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
                    let range = months.entry(month).or_insert((seal.position, 0, 0));
                    range.1 = seal.position + 1;
                    range.2 += 1;
                }
                _ => {
                    let harm = Harm::new(HarmKind::Missing);
                    self.report.add(harm.at(seal.position).of(&seal.id));
                }
            }
        }
        for (month, (start, end, records)) in months {
            let harm = Harm::new(HarmKind::RetiredWithoutRecord).at(start).to(end);
            let what = format!("{month}: {records} records");
            self.report.add(harm.what(what));
        }
    }

    /// Records without a seal: new ones, or ones that the sealer should have seen.
    async fn without_seal<DB: AuditDatabase>(
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
            if log.seal_of(&id).await?.is_some() {
                let harm = Harm::new(HarmKind::Duplicate);
                self.report.add(harm.of(&unmatched.id));
            } else if is_late && self.end > 0 {
                let harm = Harm::new(HarmKind::UnsealedLate);
                self.report.add(harm.of(&unmatched.id));
            } else {
                self.report.unsealed += 1;
            }
        }
        Ok(())
    }

    /// Entries whose records were lost by a restore that the log acknowledges, or not.
    fn restored(&mut self) {
        for (position, id) in std::mem::take(&mut self.lost) {
            let is_acknowledged =
                |restore: &Restore| (restore.from..restore.to).contains(&position);
            if self.restores.iter().any(is_acknowledged) {
                self.report.lost_in_restore.push(uuid::Uuid::from_bytes(id));
            } else {
                let harm = Harm::new(HarmKind::Missing);
                self.report.add(harm.at(position).of(&id));
            }
        }
    }

    /// Whether the end of the log, or all of it, is gone.
    fn ends(&mut self) {
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
    async fn tiles<DB: AuditDatabase>(
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
        for tile in self.check.upper().to_vec() {
            let (level, index) = (tile.id().level(), tile.id().index());
            match upper.get(&(level, index)) {
                Some((root, hashes)) if hashes == tile.bytes() && has_root(hashes, *root) => {
                    compared += 1;
                }
                _ => self.check.lose(tile_name(level, index)),
            }
            self.published(&tile)?;
        }
        if self.check.is_intact() {
            self.lower(log).await?;
        }
        self.report.checked.tiles = compared;
        let roots: Vec<(u64, bool)> = self
            .anchors
            .valid
            .iter()
            .filter_map(|it| {
                let root = self.check.root(it.checkpoint.size())?;
                Some((it.checkpoint.size(), root == it.checkpoint.root()))
            })
            .collect();
        let agrees = |size: u64| roots.iter().find(|it| it.0 >= size).map(|it| it.1);
        for harm in self.check.findings(agrees) {
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

    /// Full tiles of level 0 that the database lacks, and the published ones.
    async fn lower<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
    ) -> Result<(), SealError> {
        let full = self.check.size() / WIDTH;
        let stored: HashSet<u64> = log.tile_indexes(full).await?;
        for index in (0..full).filter(|index| !stored.contains(index)) {
            self.check.lose(tile_name(0, index));
        }
        for tile in self.check.lower().to_vec() {
            self.published(&tile)?;
        }
        Ok(())
    }

    /// Compares a tile with the published one, as far as the published log goes.
    fn published(&mut self, tile: &Tile) -> Result<(), SealError> {
        let Some(directory) = &self.directory else {
            return Ok(());
        };
        let published = self.anchors.published;
        if tile.id().end_index().is_none_or(|end| end > published) {
            return Ok(());
        }
        let path = tile.id().path();
        let place = directory.place(&path).into_owned();
        match directory.tile(tile.id())? {
            Some(bytes) if bytes == tile.bytes() => {}
            _ => self.check.lose(place),
        }
        Ok(())
    }

    /// The roots of the checkpoints, unless entries before them are known to be wrong.
    fn checkpoints(&mut self) {
        let first_harm = self.check.first_harm().unwrap_or(u64::MAX);
        let mut root_differs = false;
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
            // Only the first one of each kind: all later ones differ, too.
            if size > first_harm || root_differs {
                continue;
            }
            root_differs = true;
            let kind = if anchor.is_external {
                HarmKind::AnchorMismatch
            } else {
                HarmKind::RootMismatch
            };
            let harm = Harm::new(kind).at(size).what(anchor.name.clone());
            self.report.add(harm);
        }
    }
}

/// Adds the checkpoints of a published log.
fn add_published(
    directory: &Directory,
    anchors: &mut Anchors,
    report: &mut Verification,
    options: &Verify,
) -> Result<(), SealError> {
    let newest = directory.checkpoint()?;
    let archived = directory.checkpoints()?;
    if newest.is_none() && archived.is_empty() {
        return Err(SealError::NotFound(format!(
            "{} contains no checkpoint: pass the directory that the sealer publishes to",
            directory.path().display()
        )));
    }
    let before = anchors.largest_stored;
    for (name, note) in archived {
        let place = directory.place(&format!("checkpoints/{name}"));
        anchors.add(place.into_owned(), &note, true, &options.keys);
    }
    if let Some(note) = newest {
        let place = directory.place("checkpoint").into_owned();
        let known = anchors.valid.len();
        anchors.add(place.clone(), &note, true, &options.keys);
        let size = anchors.valid.get(known).map(|it| it.checkpoint.size());
        anchors.published = size.unwrap_or(0);
        if size.is_some_and(|size| size < before) {
            report.add(Harm::new(HarmKind::StaleAnchor).what(place));
        }
    }
    Ok(())
}

/// The published tile of level 0, full or partial, of a log with at most `size` entries.
fn published_tile(
    directory: &Directory,
    index: u64,
    size: u64,
) -> Result<Option<Expected>, SealError> {
    let width = (size - index * WIDTH).min(WIDTH);
    // The partial tile of the size that was published is the widest one that exists.
    for width in (1..=width).rev() {
        let Ok(width) = u16::try_from(width) else {
            continue;
        };
        let Ok(id) = TileId::new(0, index, width) else {
            continue;
        };
        if let Some(hashes) = directory.tile(id)? {
            let name = directory.place(&id.path()).into_owned();
            return Ok(Some(Expected { hashes, name }));
        }
    }
    Ok(None)
}
