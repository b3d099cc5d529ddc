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
use crate::store::{AuditDatabase, Dialect};

/// How much older than the last record seen a new one may be, where the database's clock is all
/// there is to go by (SQLite).
const OVERLAP: SignedDuration = SignedDuration::from_secs(10);
/// How old a transaction may be that is still followed on Postgres.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// How many records a look on Postgres shows: a transaction that stayed open for hours holds up all
/// that was committed meanwhile.
const MOST: usize = 1_000;

/// What a look found: the records, up to which transaction it went, what is left of it, and when.
type Seen = (Vec<AuditRecord>, Option<u64>, Option<Rest>, Timestamp);

/// How often it is recorded how many records a tail told, as long as it tells any.
const RECORDED_EVERY: Duration = Duration::from_secs(60);
/// What its records say of a tail: that it began, and how many records it told since.
const BEGUN: &str = "tail";
const TOLD: &str = "tailed";

/// Follows the records as they are committed. See [`Reading::tail`].
#[derive(Debug)]
pub struct Tail<DB: AuditDatabase> {
    reading: Reading<DB>,
    query: AuditQuery,
    began: Timestamp,
    /// Postgres: what was committed before it began.
    before: String,
    /// Postgres: the numbers of transactions that were still to come when it began, and that the
    /// records of another server, restored here, bear all the same; empty without such records.
    restored: RangeInclusive<u64>,
    /// Postgres: the first transaction that was not looked at.
    next: u64,
    /// Postgres: a look that is not done, as there was much to see.
    rest: Option<Rest>,
    /// SQLite: the last moment that was looked at, and what was seen about then.
    last: Timestamp,
    seen: BTreeSet<(Timestamp, Uuid)>,
    /// How many records were told since that was recorded last.
    told: u64,
    recorded: Instant,
}

/// What is left of a look: from the record after the last that was seen, up to a transaction.
#[derive(Clone, Debug)]
struct Rest {
    end: u64,
    xid: String,
    recorded_at: Timestamp,
    id: Uuid,
}

/// What a look at the end of the log showed.
#[derive(Debug)]
#[non_exhaustive]
pub struct TailBatch {
    /// The records that are new since the last look, transaction by transaction; on Postgres at most
    /// 1,000. None is told twice, and none is missed, however late its transaction commits (on Postgres
    /// up to 24 hours after it began).
    pub records: Vec<AuditRecord>,
    /// The oldest transaction that is still at work, anywhere on the server. Records of it and of
    /// any later one have to wait until it ends; while it stays the same, nothing new can be seen.
    /// `None` on SQLite.
    pub waiting_for: Option<String>,
    /// Whether the next look will find more at once.
    pub more: bool,
}

impl<DB: AuditDatabase> Reading<DB> {
    /// Begins to follow the records that `query` asks for, from those of transactions that are not
    /// committed yet. That it begins is recorded (`tail`), and once a minute how many records it told
    /// since (`tailed`); the last of them by [`Tail::end`].
    ///
    /// # Errors
    ///
    /// As [`page`](Self::page), and [`Error::InvalidQuery`] for a query with a period, an order or a
    /// limit, which a tail has not.
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
                    "a tail follows what is committed from now on, in that order, and takes no {name}: leave it out, or ask for a page of what is there already"
                )));
            }
        }
        query.direction = Direction::Ascending;
        self.record(BEGUN, &query, 0).await?;
        let Horizon {
            now,
            xmin,
            snapshot,
            xmax,
        } = self.horizon().await?;
        let mut tail = Tail {
            reading: self.clone(),
            query,
            began: now,
            before: snapshot,
            restored: xmax..=self.last_xid().await?,
            next: xmin,
            rest: None,
            last: now,
            seen: BTreeSet::new(),
            told: 0,
            recorded: Instant::now(),
        };
        if self.dialect() == Dialect::Sqlite {
            // What is there already is not new.
            let there = tail.on_sqlite().await?;
            tail.saw(&there, now);
        }
        Ok(tail)
    }

    /// The highest number of a transaction that a record bears.
    async fn last_xid(&self) -> Result<u64, Error> {
        if self.dialect() == Dialect::Sqlite {
            return Ok(0);
        }
        let last = "COALESCE(max(record.xid), '0')::text";
        let last = Statement::select(self.dialect(), self.schema(), last);
        Ok(self.fetch::<u64>(last).await?.pop().unwrap_or_default())
    }
}

impl<DB: AuditDatabase> Tail<DB> {
    /// Looks once. Call it as often as news is wanted, such as each second.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] when the database cannot be asked, [`Error::ReadNotRecorded`] when it cannot be
    /// recorded how many were told; the next look goes on from the same place.
    pub async fn look(&mut self) -> Result<TailBatch, Error> {
        let (records, end, rest, now) = match self.reading.dialect() {
            Dialect::Postgres => self.on_postgres().await?,
            Dialect::Sqlite => {
                let Horizon { now, .. } = self.reading.horizon().await?;
                (self.on_sqlite().await?, None, None, now)
            }
        };
        let told = self.told + records.iter().filter(|it| !is_of_a_tail(it)).count() as u64;
        if told > 0 && self.recorded.elapsed() >= RECORDED_EVERY {
            self.record(told).await?;
        } else {
            self.told = told;
        }
        self.saw(&records, now);
        self.rest = rest;
        if let Some(end) = end
            && self.rest.is_none()
        {
            self.next = end;
        }
        Ok(TailBatch {
            records,
            waiting_for: end.map(|end| end.to_string()),
            more: self.rest.is_some(),
        })
    }

    /// Records how many records were told since that was recorded last.
    ///
    /// # Errors
    ///
    /// [`Error::ReadCountNotRecorded`] when it cannot be recorded.
    pub async fn end(mut self) -> Result<(), Error> {
        match self.told {
            0 => Ok(()),
            told => self.record(told).await.map_err(Error::after_read),
        }
    }

    async fn record(&mut self, told: u64) -> Result<(), Error> {
        self.reading.record(TOLD, &self.query, told).await?;
        (self.told, self.recorded) = (0, Instant::now());
        Ok(())
    }

    /// Takes the transactions up to the first that is still at work: all below it have ended, so
    /// no record of theirs can come any more.
    async fn on_postgres(&self) -> Result<Seen, Error> {
        let Horizon { xmin, now, .. } = self.reading.horizon().await?;
        let end = self.rest.as_ref().map_or(xmin, |rest| rest.end);
        let mut statement = self.statement()?;
        let since = statement.moment(self.began - LONGEST);
        let first = statement.argument(self.next.to_string(), "xid8");
        let before_end = statement.argument(end.to_string(), "xid8");
        let before = statement.argument(&self.before, "pg_snapshot");
        statement.and(&format!(
            "record.recorded_at >= {since} AND record.xid >= {first} AND record.xid < {before_end} AND NOT pg_visible_in_snapshot(record.xid, {before})"
        ));
        if !self.restored.is_empty() {
            let first = statement.argument(self.restored.start().to_string(), "xid8");
            let last = statement.argument(self.restored.end().to_string(), "xid8");
            let began = statement.moment(self.began);
            statement.and(&format!(
                "NOT (record.xid BETWEEN {first} AND {last} AND record.recorded_at <= {began})"
            ));
        }
        if let Some(rest) = &self.rest {
            let xid = statement.argument(&rest.xid, "xid8");
            let recorded_at = statement.moment(rest.recorded_at);
            let id = statement.argument(rest.id.to_string(), "uuid");
            statement.and(&format!(
                "(record.xid, record.recorded_at, record.id) > ({xid}, {recorded_at}, {id})"
            ));
        }
        statement.text.push_str(&format!(
            " ORDER BY record.xid, record.recorded_at, record.id LIMIT {MOST}"
        ));
        let records = self.reading.fetch_records(statement).await?;
        let rest = records
            .last()
            .filter(|_| records.len() == MOST)
            .map(|last| Rest {
                end,
                xid: last.xid.clone().unwrap_or_default(),
                recorded_at: last.recorded_at.unwrap_or_default(),
                id: last.id,
            });
        Ok((records, Some(end), rest, now))
    }

    /// SQLite has one writer at a time, so records are committed in the order of their times, as
    /// far as the clock goes.
    async fn on_sqlite(&self) -> Result<Vec<AuditRecord>, Error> {
        let mut statement = self.statement()?;
        let since = statement.moment(self.last - OVERLAP);
        statement.and(&format!("record.recorded_at >= {since}"));
        statement
            .text
            .push_str(" ORDER BY record.recorded_at, record.id");
        let mut records = self.reading.fetch_records(statement).await?;
        records.retain(|record| !self.seen.contains(&place(record)));
        Ok(records)
    }

    /// Remembers what was told, as far back as it could come again.
    fn saw(&mut self, records: &[AuditRecord], now: Timestamp) {
        if self.reading.dialect() == Dialect::Postgres {
            return;
        }
        for place in records.iter().map(place) {
            self.last = self.last.max(place.0);
            self.seen.insert(place);
        }
        // A clock that was ahead and was set back would else hide what is written until then.
        self.last = self.last.min(now);
        let forgotten = self.last - OVERLAP - OVERLAP;
        self.seen = self.seen.split_off(&(forgotten, Uuid::nil()));
    }

    fn statement(&self) -> Result<Statement, Error> {
        let reading = &self.reading;
        let dialect = reading.dialect();
        let mut statement = Statement::select(dialect, reading.schema(), dialect.row());
        statement.conditions(&self.query)?;
        Ok(statement)
    }
}

/// Two tails would else tell each other for ever that they told something.
fn is_of_a_tail(record: &AuditRecord) -> bool {
    record.action == "audit.read" && record.details.get("answer").is_some_and(|it| it == TOLD)
}

fn place(record: &AuditRecord) -> (Timestamp, Uuid) {
    (record.recorded_at.unwrap_or_default(), record.id)
}
