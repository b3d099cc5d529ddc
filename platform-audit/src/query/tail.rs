use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::horizon::Horizon;
use super::reading::Reading;
use super::statement::Statement;
use super::{AuditQuery, Direction, SortBy};
use crate::error::Error;
use crate::record::AuditRecord;
use crate::store::AuditDatabase;

/// SQLite: how far back each poll looks before the newest record seen, to tolerate clock steps.
const OVERLAP: SignedDuration = SignedDuration::from_secs(10);
/// Postgres: maximum age of a transaction whose records are still followed.
const MAX_TRANSACTION_AGE: SignedDuration = SignedDuration::from_hours(24);

/// Postgres: maximum batch size, in records. Without it, the first poll after a transaction that
/// stayed open for hours would return everything that was committed since it began.
const MAX_BATCH: usize = 1_000;

/// The result of a poll: records, end of the scanned transaction range, what is left of it, and the
/// current time.
type Polled = (
    Vec<AuditRecord>,
    Option<u64>,
    Option<RemainingRange>,
    Timestamp,
);

/// How often the number of delivered records is recorded, while there are any.
const RECORD_INTERVAL: Duration = Duration::from_secs(60);
/// The kinds of read that a tail records: its start, and the number of delivered records.
const STARTED: &str = "tail";
const DELIVERED: &str = "tailed";

/// Follows records as they are committed. See [`Reading::tail`].
#[derive(Debug)]
pub struct Tail<DB: AuditDatabase> {
    reading: Reading<DB>,
    query: AuditQuery,
    started_at: Timestamp,
    /// Postgres: the snapshot at the start; everything visible in it is old.
    start_snapshot: String,
    /// Postgres: transaction ids that this server had not assigned yet at the start, but that
    /// appear in records restored from another server. Empty without such records.
    restored: RangeInclusive<u64>,
    /// Postgres: restored records with the id of a transaction that was running at the start.
    restored_ids: Vec<Uuid>,
    /// Postgres: the first transaction that has not been scanned.
    next: u64,
    /// Postgres: the rest of a transaction range too large for one batch.
    remaining: Option<RemainingRange>,
    /// SQLite: the newest time seen, and the records seen around it.
    last: Timestamp,
    seen: BTreeSet<(Timestamp, Uuid)>,
    /// Records delivered since the last time their number was recorded.
    delivered: u64,
    last_recorded: Instant,
}

/// The rest of a transaction range: everything after the last delivered record, up to transaction
/// `end`.
#[derive(Clone, Debug)]
struct RemainingRange {
    end: u64,
    xid: String,
    recorded_at: Timestamp,
    id: Uuid,
}

/// The records that one poll returned.
#[derive(Debug)]
#[non_exhaustive]
pub struct TailBatch {
    /// The records committed since the last poll, grouped by transaction; on Postgres at most
    /// 1,000.
    ///
    /// Each record is delivered exactly once, however late its transaction commits; on Postgres, up
    /// to 24 hours after the transaction began.
    pub records: Vec<AuditRecord>,
    /// The oldest transaction still running anywhere on the server. Its records, and those of all
    /// later transactions, are delivered after it ends; until it changes, no new records are
    /// visible. `None` on SQLite.
    pub waiting_for: Option<String>,
    /// Whether more records are available immediately.
    pub more: bool,
}

impl<DB: AuditDatabase> Reading<DB> {
    /// Starts to follow the records that match `query`, beginning with transactions that have not
    /// committed yet.
    ///
    /// The start is recorded (`tail`), and once a minute the number of records delivered since
    /// (`tailed`); the last count by [`Tail::finish`].
    ///
    /// # Errors
    ///
    /// The same as [`page`](Self::page), and [`Error::InvalidQuery`] if the query has a period, a
    /// sort order or a limit, which a tail does not support.
    pub async fn tail(&self, query: &AuditQuery) -> Result<Tail<DB>, Error> {
        let mut query = query.clone();
        for (name, is_given) in [
            ("since", query.since.is_some()),
            ("until", query.until.is_some()),
            ("limit", query.limit.is_some()),
            ("sort", query.sort != SortBy::RecordedAt),
        ] {
            if is_given {
                return Err(Error::InvalidQuery(format!(
                    "a tail follows new records in commit order and takes no {name}: leave it out, or query the existing records instead"
                )));
            }
        }
        query.direction = Direction::Ascending;
        self.record(STARTED, &query, 0).await?;
        let Horizon {
            now,
            xmin,
            snapshot,
            xmax,
            restored,
        } = self.tail_start().await?;
        let mut tail = Tail {
            reading: self.clone(),
            query,
            started_at: now,
            start_snapshot: snapshot,
            restored_ids: restored,
            restored: xmax..=self.last_xid().await?,
            next: xmin,
            remaining: None,
            last: now,
            seen: BTreeSet::new(),
            delivered: 0,
            last_recorded: Instant::now(),
        };
        if !self.dialect().has_snapshots() {
            // Existing records are not new.
            let existing = tail.poll_by_time().await?;
            tail.mark_seen(&existing, now);
        }
        Ok(tail)
    }

    /// The highest transaction id found in a record.
    async fn last_xid(&self) -> Result<u64, Error> {
        if !self.dialect().has_snapshots() {
            return Ok(0);
        }
        let last = "COALESCE(max(record.xid), '0')::text";
        let last = Statement::select(self.dialect(), self.schema(), last);
        Ok(self.fetch::<u64>(last).await?.pop().unwrap_or_default())
    }
}

impl<DB: AuditDatabase> Tail<DB> {
    /// Polls for new records. Call it at regular intervals, such as every second.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] if the query fails; [`Error::ReadNotRecorded`] if the number of delivered
    /// records cannot be recorded. A failed call can be retried: the position does not change.
    pub async fn next_batch(&mut self) -> Result<TailBatch, Error> {
        let (records, end, remaining, now) = if self.reading.dialect().has_snapshots() {
            self.poll_by_transaction().await?
        } else {
            let Horizon { now, .. } = self.reading.horizon().await?;
            (self.poll_by_time().await?, None, None, now)
        };
        let delivered =
            self.delivered + records.iter().filter(|it| !is_tail_record(it)).count() as u64;
        if delivered > 0 && self.last_recorded.elapsed() >= RECORD_INTERVAL {
            self.record(delivered).await?;
        } else {
            self.delivered = delivered;
        }
        self.mark_seen(&records, now);
        self.remaining = remaining;
        if let Some(end) = end
            && self.remaining.is_none()
        {
            self.next = end;
        }
        Ok(TailBatch {
            records,
            waiting_for: end.map(|end| end.to_string()),
            more: self.remaining.is_some(),
        })
    }

    /// Ends the tail, and records how many records were delivered since the last count.
    ///
    /// # Errors
    ///
    /// [`Error::ReadCountNotRecorded`] if the number cannot be recorded.
    pub async fn finish(mut self) -> Result<(), Error> {
        match self.delivered {
            0 => Ok(()),
            delivered => self.record(delivered).await.map_err(Error::after_read),
        }
    }

    async fn record(&mut self, delivered: u64) -> Result<(), Error> {
        self.reading
            .record(DELIVERED, &self.query, delivered)
            .await?;
        (self.delivered, self.last_recorded) = (0, Instant::now());
        Ok(())
    }

    /// Postgres: scans the transactions below the oldest running one. All of them have ended, so no
    /// more records of theirs can appear.
    async fn poll_by_transaction(&self) -> Result<Polled, Error> {
        let Horizon { xmin, now, .. } = self.reading.horizon().await?;
        let end = self
            .remaining
            .as_ref()
            .map_or(xmin, |remaining| remaining.end);
        let mut statement = self.select_statement()?;
        let since = statement.time_argument(self.started_at - MAX_TRANSACTION_AGE);
        let first = statement.argument(self.next.to_string(), "xid8");
        let end_argument = statement.argument(end.to_string(), "xid8");
        let snapshot = statement.argument(&self.start_snapshot, "pg_snapshot");
        statement.and(&format!(
            "record.recorded_at >= {since} AND record.xid >= {first} AND record.xid < {end_argument} AND NOT pg_visible_in_snapshot(record.xid, {snapshot})"
        ));
        if !self.restored.is_empty() {
            let first = statement.argument(self.restored.start().to_string(), "xid8");
            let last = statement.argument(self.restored.end().to_string(), "xid8");
            let started_at = statement.time_argument(self.started_at);
            statement.and(&format!(
                "NOT (record.xid BETWEEN {first} AND {last} AND record.recorded_at <= {started_at})"
            ));
        }
        if !self.restored_ids.is_empty() {
            let ids: Vec<_> = self.restored_ids.iter().map(Uuid::to_string).collect();
            let ids = statement.argument(format!("{{{}}}", ids.join(",")), "uuid[]");
            statement.and(&format!("record.id <> ALL ({ids})"));
        }
        if let Some(remaining) = &self.remaining {
            let xid = statement.argument(&remaining.xid, "xid8");
            let recorded_at = statement.time_argument(remaining.recorded_at);
            let id = statement.argument(remaining.id.to_string(), "uuid");
            statement.and(&format!(
                "(record.xid, record.recorded_at, record.id) > ({xid}, {recorded_at}, {id})"
            ));
        }
        statement.text.push_str(&format!(
            " ORDER BY record.xid, record.recorded_at, record.id LIMIT {MAX_BATCH}"
        ));
        let records = self.reading.fetch_records(statement).await?;
        let remaining = records
            .last()
            .filter(|_| records.len() == MAX_BATCH)
            .map(|last| RemainingRange {
                end,
                xid: last.xid.clone().unwrap_or_default(),
                recorded_at: last.recorded_at.unwrap_or_default(),
                id: last.id,
            });
        Ok((records, Some(end), remaining, now))
    }

    /// SQLite: as it has a single writer, records are committed in the order of their timestamps,
    /// as far as the clock is monotonic.
    async fn poll_by_time(&self) -> Result<Vec<AuditRecord>, Error> {
        let mut statement = self.select_statement()?;
        let since = statement.time_argument(self.last - OVERLAP);
        statement.and(&format!("record.recorded_at >= {since}"));
        statement
            .text
            .push_str(" ORDER BY record.recorded_at, record.id");
        let mut records = self.reading.fetch_records(statement).await?;
        records.retain(|record| !self.seen.contains(&key(record)));
        Ok(records)
    }

    /// Remembers delivered records for as long as a poll could return them again.
    fn mark_seen(&mut self, records: &[AuditRecord], now: Timestamp) {
        if self.reading.dialect().has_snapshots() {
            return;
        }
        for key in records.iter().map(key) {
            self.last = self.last.max(key.0);
            self.seen.insert(key);
        }
        // Otherwise a clock that was ahead and is set back would hide new records until it catches
        // up.
        self.last = self.last.min(now);
        let forgotten = self.last - OVERLAP - OVERLAP;
        self.seen = self.seen.split_off(&(forgotten, Uuid::nil()));
    }

    fn select_statement(&self) -> Result<Statement, Error> {
        let reading = &self.reading;
        let dialect = reading.dialect();
        let mut statement = Statement::select(dialect, reading.schema(), dialect.sql().row());
        statement.conditions(&self.query)?;
        Ok(statement)
    }
}

/// Whether the record is a tail's own count. Such records are not counted: two tails would
/// otherwise keep triggering each other.
fn is_tail_record(record: &AuditRecord) -> bool {
    record.action == "audit.read" && record.details.get("kind").is_some_and(|it| it == DELIVERED)
}

fn key(record: &AuditRecord) -> (Timestamp, Uuid) {
    (record.recorded_at.unwrap_or_default(), record.id)
}
