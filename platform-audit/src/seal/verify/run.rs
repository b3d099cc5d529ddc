//! The verification of a log in a database.

use std::collections::HashSet;

use sqlx::Pool;
use tokio::task::JoinSet;

use super::Verify;
use super::anchors::Anchors;
use super::batches::{Batch, Source};
use super::published::Published;
use super::records::{Matcher, Pair, Partition, RawPartition, compare};
use super::report::{Harm, HarmKind, Verification};
use super::tree::{TreeCheck, WIDTH};
use crate::record::COLUMNS;
use crate::seal::canonical::{RECORD, RESTORE, parse_entry, record_entry};
use crate::seal::directory::Directory;
use crate::seal::error::SealError;
use crate::seal::log::{Restore, SealedLog, Tree};
use crate::seal::sealer::micros;
use crate::store::{AuditDatabase, SealRow, SealSql};

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

pub(super) struct Run {
    pub(super) report: Verification,
    pub(super) anchors: Anchors,
    pub(super) published: Option<Published>,
    pub(super) partitions: Vec<Partition>,
    /// The state of the sealer when the verification began.
    pub(super) tree: Option<Tree>,
    /// The position after the last one that should exist.
    pub(super) end: u64,
    pub(super) check: TreeCheck,
    pub(super) matcher: Matcher,
    /// Entries of records that are in no seal: what a restore has lost.
    pub(super) lost: Vec<(u64, [u8; 16])>,
    lost_ids: HashSet<[u8; 16]>,
    /// Those of which there is a seal again, at a later position.
    pub(super) sealed_again: HashSet<[u8; 16]>,
    pub(super) restores: Vec<Restore>,
    /// When the verification began, and the latest `recorded_at` until then.
    now: i64,
    latest: i64,
    pending: Vec<Pair>,
    comparing: JoinSet<Result<Vec<Harm>, SealError>>,
    pub(super) sql: &'static dyn SealSql,
}

impl Run {
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
        let published = directory
            .map(|it| Published::open(it, &mut anchors, options))
            .transpose()?;
        for (name, note) in &options.checkpoints {
            anchors.add(name.clone(), note, true, &options.keys);
        }
        anchors.sort();
        // After the checkpoints, so that it covers all of them while the sealer continues.
        let tree = log.json::<Tree>(sql.tree()).await?;
        let mut report = Verification::default();
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
        let sizes = sizes.chain([size]);
        Ok(Self {
            check: TreeCheck::new(sizes.collect(), published.as_ref().map(Published::size)),
            matcher: Matcher::new(sql),
            report,
            anchors,
            published,
            partitions,
            tree,
            end,
            lost: Vec::new(),
            lost_ids: HashSet::new(),
            sealed_again: HashSet::new(),
            restores: Vec::new(),
            now: jiff::Timestamp::now().as_microsecond(),
            latest: i64::MIN,
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
        if let Some(published) = &self.published {
            for index in self.check.size() / WIDTH..batch.end.div_ceil(WIDTH) {
                if !self.check.expects(index)
                    && let Some(tile) = published.lowest(index, self.end)?
                {
                    self.check.expect(index, tile);
                }
            }
        }
        let mut others = batch.entries.into_iter().peekable();
        for seal in batch.seals {
            while let Some((position, entry)) = others.next_if(|it| it.0 < seal.position) {
                self.other(position, &entry)?;
            }
            self.seal(seal).await?;
        }
        for (position, entry) in others {
            self.other(position, &entry)?;
        }
        if let Some(published) = &mut self.published {
            for tile in self.check.take_lower() {
                published.tile(&tile)?;
            }
        }
        Ok(())
    }

    async fn seal(&mut self, seal: SealRow) -> Result<(), SealError> {
        let entry = record_entry(&seal.id, &seal.digest);
        self.entry(seal.position, Some(seal.id), &entry)?;
        if let Some(at) = micros(&seal.recorded_at) {
            // Until the first checkpoint, a log that existed before is sealed, in any order.
            let first = self.anchors.valid.first().map(|it| it.checkpoint.size());
            let is_new = first.is_some_and(|first| seal.position >= first);
            if is_new && self.latest.saturating_sub(at) > LATE {
                let harm = Harm::new(HarmKind::UnsealedLate);
                self.report.add(harm.at(seal.position).of(&seal.id));
            }
            // A time in the future, which only a wrong clock or a moved record has, says nothing
            // about the later ones.
            if at <= self.now {
                self.latest = self.latest.max(at);
            }
        }
        if !self.lost_ids.is_empty() && self.lost_ids.remove(&seal.id) {
            self.sealed_again.insert(seal.id);
        }
        if let Some(pair) = self.matcher.seal(seal) {
            self.pair(pair).await?;
        }
        Ok(())
    }

    /// An entry that is not that of a seal.
    fn other(&mut self, position: u64, entry: &[u8]) -> Result<(), SealError> {
        self.entry(position, None, entry)?;
        match parse_entry(entry) {
            Some((RECORD, body)) => {
                let id = body.first_chunk().copied().unwrap_or_default();
                self.lost.push((position, id));
                self.lost_ids.insert(id);
            }
            // It acknowledges what was lost before it, and nothing else.
            Some((RESTORE, body)) => {
                let restore = Restore::parse(body);
                self.restores.extend(restore.filter(|it| it.to == position));
            }
            _ => {}
        }
        Ok(())
    }

    fn entry(
        &mut self,
        position: u64,
        id: Option<[u8; 16]>,
        entry: &[u8],
    ) -> Result<(), SealError> {
        self.check.entry(position, id, entry);
        match &mut self.published {
            Some(published) => published.entry(position, entry),
            None => Ok(()),
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
        let unmatched = matcher.finish();
        self.missing(&mut log, &unmatched.seals).await?;
        self.without_seal(&mut log, &unmatched.records).await?;
        self.sealed_twice(&mut log, unmatched.twice).await?;
        self.restored();
        self.ends();
        self.tiles(&mut log).await?;
        self.checkpoints();
        let findings = std::mem::take(&mut self.anchors.findings);
        findings.into_iter().for_each(|harm| self.report.add(harm));
        self.report.findings.sort_by_key(|harm| harm.position);
        Ok(self.report)
    }
}
