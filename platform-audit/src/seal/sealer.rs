//! One pass of the sealer: the records that were committed since the last pass become entries.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use platform_audit_tlog::tile::TileBuilder;
use platform_audit_tlog::tree::{Hash, leaf_hash};
use serde::Deserialize;

use super::canonical::{KEY, Salt, commit, other_entry, parse_entry, record_entry};
use super::error::SealError;
use super::log::{SealedLog, Tree};
use super::snapshot::Snapshot;
use crate::store::{AuditDatabase, NewSeal, SealSql, Unsealed};

/// The maximum number of records of a pass, unless one transaction wrote more.
const BATCH: usize = 10_000;

/// The maximum number of records of one transaction: more than a server can write in one.
const MAX_TRANSACTION: usize = 1 << 40;

/// How often a database with records that were restored from another server is searched for more of
/// them. The search reads all of these.
const RESTORED_EVERY: Duration = Duration::from_secs(3600);

/// Seals records. It keeps the right edge of the tree between passes.
#[derive(Debug)]
pub(crate) struct Sealer {
    /// The verifier key, which the log contains from the first entry it signs.
    verifier_key: String,
    edge: TileBuilder,
    /// Whether the log is known to contain the verifier key.
    has_key: bool,
    /// When records of another server were looked for, and the highest number at that time.
    restored: Option<(Instant, u64)>,
}

/// What a pass did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Another instance is sealing.
    Busy,
    /// `sealed` entries were added to the tree.
    Sealed {
        sealed: u64,
        size: u64,
        root: Hash,
        /// When the oldest of the new entries was recorded, in microseconds since 1970.
        oldest: Option<i64>,
        /// Whether there are more records to seal at once.
        more: bool,
    },
}

/// Postgres' present snapshot.
#[derive(Debug, Deserialize)]
struct Present {
    snapshot: String,
    /// The highest number of a transaction among the records.
    highest: String,
}

/// The records of a pass, and how far it gets.
#[derive(Debug, Default)]
struct Batch {
    seals: Vec<NewSeal>,
    /// The leaf of each seal, and the number of the record's transaction.
    leaves: Vec<Hash>,
    xids: Vec<u64>,
    /// How many rows the database returned, and the transactions of the first and the last.
    rows: usize,
    first_xid: u64,
    last_xid: u64,
    /// The snapshot up to which everything is sealed then. Postgres only.
    seen: Option<String>,
    /// The last number of SQLite's queue.
    last: i64,
    more: bool,
}

impl Sealer {
    /// Returns a sealer for the log whose checkpoints this key verifies.
    pub(crate) fn new(verifier_key: String) -> Self {
        Self {
            verifier_key,
            edge: TileBuilder::new(),
            has_key: false,
            restored: None,
        }
    }

    /// The tree after the last pass.
    pub(crate) fn edge(&self) -> &TileBuilder {
        &self.edge
    }

    /// Seals the records that were committed since the last pass, in one transaction. Any number of
    /// instances may call this: one at a time does the work.
    ///
    /// A dropped future or an error leaves the log as it was.
    pub(crate) async fn pass<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
    ) -> Result<Pass, SealError> {
        match self.try_pass(log, false).await {
            // Two records have the same id, or the records of restored transactions are found
            // again: look for records without a seal instead.
            Err(SealError::Store(error)) if is_duplicate(&error) => self.try_pass(log, true).await,
            done => done,
        }
    }

    async fn try_pass<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
        exclude_sealed: bool,
    ) -> Result<Pass, SealError> {
        log.run_raw(log.sql.begin()).await?;
        let edge = self.edge.clone();
        match self.in_transaction(log, exclude_sealed).await {
            Ok(pass @ Pass::Sealed { .. }) => {
                let committed = log.run_raw("COMMIT").await;
                if committed.is_err() {
                    // The outcome may be unknown: the next pass reads the tree again.
                    self.edge = edge;
                }
                committed?;
                Ok(pass)
            }
            failed => {
                self.edge = edge;
                // The cause of the failure matters more than an error of the rollback.
                let rolled_back = log.run_raw("ROLLBACK").await;
                drop(rolled_back);
                failed
            }
        }
    }

    async fn in_transaction<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
        exclude_sealed: bool,
    ) -> Result<Pass, SealError> {
        let sql = log.sql;
        let Some(tree) = log.json::<Tree>(sql.lock_tree()).await? else {
            // Its row is locked, or gone.
            return match log.json::<Tree>(sql.tree()).await? {
                Some(_) => Ok(Pass::Busy),
                None => Err(SealError::Damaged),
            };
        };
        if self.edge.size() != tree.size || hex::encode(self.edge.root().as_bytes()) != tree.root {
            self.edge = log.builder(tree.size).await?;
            if hex::encode(self.edge.root().as_bytes()) != tree.root {
                return Err(SealError::Damaged);
            }
            self.has_key = false;
        }
        self.seal_key(log).await?;
        let batch = match sql.snapshot() {
            Some(statement) => {
                let present = log.json::<Present>(statement).await?;
                let present = present.ok_or_else(|| SealError::malformed("no snapshot"))?;
                let mut batch = by_snapshot(log, &tree, &present, exclude_sealed).await?;
                if !batch.more && self.may_have_restored(&present) {
                    let restored = restored(log).await?;
                    batch.more = restored.more;
                    if batch.more {
                        self.restored = None;
                    }
                    batch.append(restored);
                }
                batch
            }
            None => from_queue(log, exclude_sealed).await?,
        };
        let first = self.edge.size();
        let oldest = batch
            .seals
            .iter()
            .filter_map(|it| micros(&it.recorded_at))
            .min();
        if !batch.seals.is_empty() {
            log.insert_seals(first, &batch.seals).await?;
        }
        let tiles = self.edge.extend(batch.leaves);
        log.insert_tiles(&tiles).await?;
        let root = self.edge.root();
        let size = self.edge.size();
        let seen = batch.seen.as_deref();
        // A pass that found nothing writes nothing, unless the snapshot matters.
        if size != tree.size || seen.is_some_and(|seen| is_worth_storing(&tree.seen, seen)) {
            let root = hex::encode(root.as_bytes());
            for (statement, arguments) in sql.update_tree(size, &root, seen, batch.last) {
                log.run(&statement, &arguments).await?;
            }
        }
        Ok(Pass::Sealed {
            sealed: size - tree.size,
            size,
            root,
            oldest,
            more: batch.more,
        })
    }

    /// Appends the `lost` entries, which must lead to the published size and root, and then
    /// `entry`. Returns how many entries were appended.
    pub(crate) async fn resume<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
        lost: Vec<Vec<u8>>,
        (size, root): (u64, Hash),
        entry: &[u8],
        place: &str,
    ) -> Result<u64, SealError> {
        log.run_raw(log.sql.begin()).await?;
        let Some(tree) = log.json::<Tree>(log.sql.lock_tree()).await? else {
            log.run_raw("ROLLBACK").await?;
            return Err(SealError::Malformed(
                "another instance is sealing: stop the sealers first".to_owned(),
            ));
        };
        self.edge = log.builder(tree.size).await?;
        let added = lost.len() as u64 + 1;
        for entry in lost {
            self.append(log, &entry).await?;
        }
        if self.edge.size() != size || self.edge.root() != root {
            log.run_raw("ROLLBACK").await?;
            let place = place.to_owned();
            return Err(SealError::Fork { place, size });
        }
        self.append(log, entry).await?;
        let root = hex::encode(self.edge.root().as_bytes());
        // The numbers of transactions before the restore may have been assigned again.
        let nothing = Snapshot::NOTHING.to_string();
        let queries = log
            .sql
            .update_tree(self.edge.size(), &root, Some(&nothing), 0);
        for (statement, arguments) in queries {
            log.run(&statement, &arguments).await?;
        }
        log.run_raw("COMMIT").await?;
        Ok(added)
    }

    /// Whether the database may contain records of another server that are not sealed.
    fn may_have_restored(&mut self, present: &Present) -> bool {
        let highest = present.highest.parse().unwrap_or(u64::MAX);
        let xmax = present.snapshot.parse().map_or(0, |it: Snapshot| it.xmax);
        if highest < xmax {
            return false;
        }
        let known =
            |(at, before): (Instant, u64)| at.elapsed() < RESTORED_EVERY && before == highest;
        if self.restored.is_some_and(known) {
            return false;
        }
        self.restored = Some((Instant::now(), highest));
        true
    }

    /// Appends the verifier key to the log, unless it is its latest key.
    async fn seal_key<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
    ) -> Result<(), SealError> {
        if self.has_key {
            return Ok(());
        }
        let sql = log.sql;
        let mut rows = log.rows(sql.entries(), vec!["0".to_owned()]);
        let mut latest = None;
        while let Some(row) = rows.try_next().await? {
            let (_, entry) = sql.decode_numbered(&row)?;
            if let Some((KEY, key)) = parse_entry(&entry) {
                latest = Some(key.to_vec());
            }
        }
        drop(rows);
        if latest.as_deref() != Some(self.verifier_key.as_bytes()) {
            if let Some(before) = latest {
                tracing::warn!(
                    before = %String::from_utf8_lossy(&before),
                    after = self.verifier_key,
                    "the key of the sealed log was changed; auditors need both verifier keys"
                );
            }
            let entry = other_entry(KEY, self.verifier_key.as_bytes());
            self.append(log, &entry).await?;
        }
        self.has_key = true;
        Ok(())
    }

    /// Appends an entry that is not a record.
    pub(crate) async fn append<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
        entry: &[u8],
    ) -> Result<(), SealError> {
        let arguments = [self.edge.size().to_string(), hex::encode(entry)];
        log.run(log.sql.insert_entry(), &arguments).await?;
        let tiles = self.edge.push(leaf_hash(entry));
        log.insert_tiles(&tiles).await
    }
}

/// Postgres: the records of the transactions that have ended since `tree.seen`.
async fn by_snapshot<DB: AuditDatabase>(
    log: &mut SealedLog<'_, DB>,
    tree: &Tree,
    present: &Present,
    mut exclude_sealed: bool,
) -> Result<Batch, SealError> {
    let malformed = |()| SealError::malformed("a snapshot");
    let now: Snapshot = present.snapshot.parse().map_err(malformed)?;
    let mut seen: Snapshot = tree.seen.parse().map_err(malformed)?;
    let snapshot = &present.snapshot;
    // Another server, or one that was set back, assigns the same numbers to other transactions.
    if !tree.same_server || now.xmax < seen.xmax {
        seen = Snapshot::NOTHING;
        exclude_sealed = true;
    }
    let finished: Vec<u64> = seen
        .running
        .iter()
        .copied()
        .filter(|&xid| now.sees(xid))
        .collect();
    let mut batch = if finished.is_empty() {
        Batch::default()
    } else {
        let which = Unsealed::Finished {
            xids: &finished,
            snapshot,
        };
        // A snapshot sees a transaction whole or not at all, so it is sealed whole.
        fetch(log, &which, MAX_TRANSACTION, exclude_sealed).await?
    };
    let mut limit = BATCH;
    let which = Unsealed::Range {
        from: seen.xmax,
        to: now.xmax,
        snapshot,
    };
    let (next, end) = loop {
        let mut next = fetch(log, &which, limit, exclude_sealed).await?;
        if next.rows < limit {
            break (next, None);
        }
        if next.first_xid < next.last_xid {
            // The last transaction may have more records: it is left to the next pass.
            let end = next.last_xid;
            next.remove_from(end);
            break (next, Some(end));
        }
        limit = limit.saturating_mul(16).min(MAX_TRANSACTION);
    };
    batch.append(next);
    batch.more = end.is_some();
    batch.seen = Some(
        end.map_or_else(|| now.clone(), |end| now.up_to(end))
            .to_string(),
    );
    Ok(batch)
}

/// Postgres: the records with the numbers of another server's transactions, which were restored.
async fn restored<DB: AuditDatabase>(log: &mut SealedLog<'_, DB>) -> Result<Batch, SealError> {
    let mut restored = fetch(log, &Unsealed::Restored, BATCH, true).await?;
    restored.more = restored.rows == BATCH;
    Ok(restored)
}

/// SQLite: the records in the queue.
async fn from_queue<DB: AuditDatabase>(
    log: &mut SealedLog<'_, DB>,
    exclude_sealed: bool,
) -> Result<Batch, SealError> {
    let mut batch = fetch(log, &Unsealed::Queue, BATCH, exclude_sealed).await?;
    batch.more = batch.seals.len() == BATCH;
    Ok(batch)
}

async fn fetch<DB: AuditDatabase>(
    log: &mut SealedLog<'_, DB>,
    which: &Unsealed<'_>,
    limit: usize,
    exclude_sealed: bool,
) -> Result<Batch, SealError> {
    let sql: &'static dyn SealSql = log.sql;
    let (statement, arguments) = sql.unsealed(which, limit, exclude_sealed);
    let mut batch = Batch::default();
    let mut ids = HashSet::new();
    let mut rows = log.rows(&statement, arguments);
    while let Some(row) = rows.try_next().await? {
        let record = sql.decode_record(&row)?;
        if batch.rows == 0 {
            batch.first_xid = record.xid;
        }
        batch.rows += 1;
        batch.last_xid = record.xid;
        batch.last = record.number;
        // A second record with the same id stays without a seal, which the verifier reports.
        if !ids.insert(record.id) {
            continue;
        }
        let salt = new_salt()?;
        let commitment = commit(&record.values, &salt);
        let entry = record_entry(&record.id, &commitment.digest);
        batch.leaves.push(leaf_hash(&entry));
        batch.xids.push(record.xid);
        batch.seals.push(NewSeal {
            recorded_at: record.recorded_at,
            id: record.id,
            id_text: record.id_text,
            salt,
            digest: commitment.digest,
            hints: commitment.hints,
        });
    }
    Ok(batch)
}

impl Batch {
    fn append(&mut self, other: Self) {
        self.last = self.last.max(other.last);
        if self.seals.is_empty() {
            (self.seals, self.leaves) = (other.seals, other.leaves);
            return;
        }
        let known: HashSet<String> = self.seals.iter().map(|it| it.id_text.clone()).collect();
        for (seal, leaf) in other.seals.into_iter().zip(other.leaves) {
            // As in one fetch: a second record with the same id stays without a seal.
            if !known.contains(&seal.id_text) {
                self.seals.push(seal);
                self.leaves.push(leaf);
            }
        }
    }

    /// Removes the records of the last transaction, `end`.
    fn remove_from(&mut self, end: u64) {
        let kept = self.xids.partition_point(|&xid| xid < end);
        self.seals.truncate(kept);
        self.leaves.truncate(kept);
    }
}

/// A time of a seal in microseconds since 1970: SQLite has a text.
pub(crate) fn micros(recorded_at: &str) -> Option<i64> {
    let text = |_| recorded_at.parse().map(jiff::Timestamp::as_microsecond);
    recorded_at.parse().or_else(text).ok()
}

fn new_salt() -> Result<Salt, SealError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| {
        SealError::Malformed(format!("the system has no random numbers: {error}"))
    })?;
    Ok(salt)
}

/// Whether the snapshot `new` differs enough from the stored one that a pass without records should
/// store it: otherwise an idle log would write a row in each pass.
fn is_worth_storing(old: &str, new: &str) -> bool {
    match (old.parse::<Snapshot>(), new.parse::<Snapshot>()) {
        (Ok(old), Ok(new)) => new.xmax.abs_diff(old.xmax) >= 1_000 || !old.running.is_empty(),
        _ => true,
    }
}

/// A unique index refused a row: Postgres' `unique_violation`, or SQLite's constraint errors.
fn is_duplicate(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(|error| {
        error.is_unique_violation() || error.message().contains("replacing a row of")
    })
}
