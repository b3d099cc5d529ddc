use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use uuid::Uuid;

use super::reader::Reading;
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

/// Follows the records as they are committed. See [`Reading::tail`].
#[derive(Debug)]
pub struct Tail<DB: AuditDatabase> {
    reading: Reading<DB>,
    query: AuditQuery,
    began: Timestamp,
    /// Postgres: the first transaction that was not looked at.
    next: String,
    /// SQLite: the last moment that was looked at, and what was seen about then.
    last: Timestamp,
    seen: BTreeSet<(Timestamp, Uuid)>,
}

/// What a look at the end of the log showed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Tailed {
    /// The records that are new since the last look, each transaction's together. None is told
    /// twice, and none is missed, however late its transaction commits (on Postgres up to 24 hours
    /// after it began).
    pub records: Vec<AuditRecord>,
    /// The oldest transaction that is still at work, anywhere on the server. Records of it and of
    /// any later one have to wait until it ends; while it stays the same, nothing new can be seen.
    /// `None` on SQLite.
    pub waiting_for: Option<String>,
}

/// Two ends of what can be seen.
#[derive(Deserialize)]
struct Horizon {
    now: Timestamp,
    xmin: String,
}

impl<DB: AuditDatabase> Reading<DB> {
    /// Begins to follow the records that `query` asks for, from those of transactions that are not
    /// committed yet. The period, the order and the limit of the query do not count.
    ///
    /// # Errors
    ///
    /// As [`page`](Self::page).
    pub async fn tail(&self, query: &AuditQuery) -> Result<Tail<DB>, Error> {
        let mut query = query.clone();
        (query.since, query.until, query.limit) = (None, None, None);
        (query.sort, query.direction) = (SortBy::RecordedAt, Direction::Ascending);
        self.record("tail", &query, 0).await?;
        let Horizon { now, xmin } = self.horizon().await?;
        let mut tail = Tail {
            reading: self.clone(),
            query,
            began: now,
            next: xmin,
            last: now,
            seen: BTreeSet::new(),
        };
        if self.dialect() == Dialect::Sqlite {
            // What is there already is not new.
            tail.on_sqlite().await?;
        }
        Ok(tail)
    }

    async fn horizon(&self) -> Result<Horizon, Error> {
        let mut statement = Statement::select(self.dialect(), self.schema(), "");
        statement.text = match self.dialect() {
            Dialect::Postgres => "SELECT json_build_object('now', clock_timestamp(), 'xmin', pg_snapshot_xmin(pg_current_snapshot())::text)::text".to_owned(),
            Dialect::Sqlite => "SELECT json_object('now', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'xmin', '')".to_owned(),
        };
        let mut rows = self.fetch::<Horizon>(statement).await?;
        rows.pop()
            .ok_or_else(|| Error::Store(sqlx::Error::RowNotFound))
    }
}

impl<DB: AuditDatabase> Tail<DB> {
    /// Looks once. Call it as often as news is wanted, such as each second.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] when the database cannot be asked; the next look goes on from the same
    /// place.
    pub async fn look(&mut self) -> Result<Tailed, Error> {
        match self.reading.dialect() {
            Dialect::Postgres => self.on_postgres().await,
            Dialect::Sqlite => self.on_sqlite().await,
        }
    }

    /// Takes the transactions up to the first that is still at work: all below it have ended, so
    /// no record of theirs can come any more.
    async fn on_postgres(&mut self) -> Result<Tailed, Error> {
        let Horizon { xmin, .. } = self.reading.horizon().await?;
        let mut statement = self.statement()?;
        let since = statement.moment(self.began - LONGEST);
        let first = statement.argument(&self.next, "xid8");
        let end = statement.argument(&xmin, "xid8");
        statement.and(&format!(
            "record.recorded_at >= {since} AND record.xid >= {first} AND record.xid < {end}"
        ));
        statement
            .text
            .push_str(" ORDER BY record.xid, record.recorded_at, record.id");
        let records = self.reading.fetch(statement).await?;
        self.next.clone_from(&xmin);
        Ok(Tailed {
            records,
            waiting_for: Some(xmin),
        })
    }

    /// SQLite has one writer at a time, so records are committed in the order of their times, as
    /// far as the clock goes.
    async fn on_sqlite(&mut self) -> Result<Tailed, Error> {
        let mut statement = self.statement()?;
        let since = statement.moment(self.last - OVERLAP);
        statement.and(&format!("record.recorded_at >= {since}"));
        statement
            .text
            .push_str(" ORDER BY record.recorded_at, record.id");
        let mut records: Vec<AuditRecord> = self.reading.fetch(statement).await?;
        records.retain(|record| {
            let at = record.recorded_at.unwrap_or_default();
            self.last = self.last.max(at);
            self.seen.insert((at, record.id))
        });
        let forgotten = self.last - OVERLAP - OVERLAP;
        self.seen = self.seen.split_off(&(forgotten, Uuid::nil()));
        Ok(Tailed {
            records,
            waiting_for: None,
        })
    }

    fn statement(&self) -> Result<Statement, Error> {
        let reading = &self.reading;
        let dialect = reading.dialect();
        let mut statement = Statement::select(dialect, reading.schema(), dialect.row());
        statement.conditions(&self.query)?;
        Ok(statement)
    }
}
