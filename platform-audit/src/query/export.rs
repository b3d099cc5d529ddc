use std::time::{Duration, Instant};

use serde_json::Value;

use super::reading::Reading;
use super::statement::Statement;
use super::{AuditQuery, Cursor};
use crate::error::Error;
use crate::record::AuditRecord;
use crate::store::{AuditDatabase, SETTLING};

/// Under which name the record of an export keeps the SHA-256 of its manifest.
const MANIFEST: &str = "manifest_sha256";

/// How many records are read at once.
const PAGE: u16 = 1_000;

/// All records of a query on their way out, page by page. See [`Reading::export`].
#[derive(Debug)]
#[must_use = "an export has to be ended, which records how many records it handed out"]
pub struct Export<DB: AuditDatabase> {
    reading: Reading<DB>,
    query: AuditQuery,
    place: Place,
    /// Where it goes on one that broke off, as its records tell it.
    continued: Option<(&'static str, Value)>,
    settled: bool,
    records: u64,
    /// SHA-256 of the manifest of the file that it was written to.
    manifest: Option<String>,
}

/// Where the next page begins.
#[derive(Debug)]
enum Place {
    First,
    After(Cursor),
    Nowhere,
}

impl<DB: AuditDatabase> Reading<DB> {
    /// Begins to hand out all records that `query` asks for, in its order: from the first, or after
    /// `cursor`, where an export broke off.
    ///
    /// That it begins is recorded (`export`), and by [`Export::end`] how it ended (`exported`). A
    /// beginning without an end is one that was dropped, or whose process was killed.
    ///
    /// Of a period that is over, it first waits, at most five seconds, until the transactions that were
    /// at work in it have ended: see [`Export::is_settled`].
    ///
    /// # Errors
    ///
    /// [`Error::ReadNotRecorded`] when that cannot be recorded; [`Error::InvalidQuery`] when the record beside
    /// which `cursor` is is not in this log, as in that of another database.
    pub async fn export(
        &self,
        query: &AuditQuery,
        cursor: Option<Cursor>,
    ) -> Result<Export<DB>, Error> {
        let query = query.clone().limit(PAGE);
        if let Some(cursor) = &cursor {
            self.holds(cursor).await?;
        }
        let mut export = Export {
            reading: self.clone(),
            query,
            continued: cursor.as_ref().map(Cursor::told),
            place: cursor.map_or(Place::First, Place::After),
            settled: false,
            records: 0,
            manifest: None,
        };
        export.record("export", None).await?;
        export.settled = self.settled(&export.query).await?;
        Ok(export)
    }

    /// The record of the export to a file whose manifest has this SHA-256, in hexadecimal
    /// (`Manifest::own_sha256`): if there is none, the manifest was changed since, or the export was
    /// made from another log. Of several, the first.
    ///
    /// Whoever may read the log may record an export that was none, too; the record says who did.
    ///
    /// # Errors
    ///
    /// As [`page`](Self::page).
    pub async fn exported(&self, manifest_sha256: &str) -> Result<Option<AuditRecord>, Error> {
        let query = AuditQuery::new().action("audit.read");
        let mut statement = Statement::select(self.dialect(), self.schema(), self.dialect().row());
        statement.conditions(&query)?;
        let sha256 = statement.argument(manifest_sha256, "text");
        // Both databases read it so.
        statement.and(&format!(
            "record.details ->> 'answer' = 'exported' AND record.details ->> '{MANIFEST}' = {sha256}"
        ));
        let order = " ORDER BY record.recorded_at, record.id LIMIT 1";
        statement.text.push_str(order);
        let found = self.fetch_records(statement).await?.pop();
        let asked = [(MANIFEST, Value::from(manifest_sha256))];
        let records = u64::from(found.is_some());
        self.record_with("export_record", &query, records, asked)
            .await?;
        Ok(found)
    }

    /// Refuses a cursor of another log.
    async fn holds(&self, cursor: &Cursor) -> Result<(), Error> {
        let count = Statement::count(self.dialect());
        let mut statement = Statement::select(self.dialect(), self.schema(), count);
        let id = statement.argument(cursor.id().to_string(), "uuid");
        let recorded_at = statement.moment(cursor.recorded_at());
        statement.and(&format!(
            "record.id = {id} AND record.recorded_at = {recorded_at}"
        ));
        if self.fetch::<u64>(statement).await? == [0] {
            return Err(Error::InvalidQuery(format!(
                "the record {} of {}, after which to go on, is not in this log: it is another database's, or was removed since",
                cursor.id(),
                cursor.recorded_at()
            )));
        }
        Ok(())
    }

    /// Whether what `query` asks for can have no more records than there are now: its period is over,
    /// and so are the transactions that were at work in it.
    async fn settled(&self, query: &AuditQuery) -> Result<bool, Error> {
        let Some(until) = query.until else {
            return Ok(false);
        };
        if self.horizon().await?.now < until {
            return Ok(false);
        }
        let Some((now, ended)) = self.dialect().settled() else {
            // It has one writer at a time, and that was us, with the record of this export.
            return Ok(true);
        };
        let began = Instant::now();
        let now = Statement::of(self.dialect(), now);
        let now = self.fetch::<u64>(now).await?;
        loop {
            let mut asked = Statement::of(self.dialect(), ended);
            asked.arguments.extend(now.iter().map(u64::to_string));
            if self.fetch::<bool>(asked).await? == [true] {
                break;
            }
            if began.elapsed() > SETTLING {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(true)
    }
}

impl<DB: AuditDatabase> Export<DB> {
    /// Whether the period that was asked for is over, and so is each transaction that was at work in
    /// it: then the same export has the same records whenever it is made. Otherwise, or without an end
    /// of the period, a record may still be committed whose time lies before the last one's here.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// The next records, at most 1,000; `None` after the last.
    ///
    /// # Errors
    ///
    /// As [`Reading::page`]; the next call goes on from the same place.
    pub async fn next_page(&mut self) -> Result<Option<Vec<AuditRecord>>, Error> {
        let cursor = match &self.place {
            Place::First => None,
            Place::After(cursor) => Some(cursor),
            Place::Nowhere => return Ok(None),
        };
        let page = self.reading.unrecorded_page(&self.query, cursor).await?;
        self.place = page.next.map_or(Place::Nowhere, Place::After);
        self.records += page.records.len() as u64;
        Ok(Some(page.records))
    }

    /// Says the SHA-256 of the manifest beside the file that was written, in hexadecimal, for the record
    /// of how it ended: by it [`Reading::exported`] tells whether the manifest was changed since.
    pub fn manifest(&mut self, sha256: impl Into<String>) {
        self.manifest = Some(sha256.into());
    }

    /// Records how it ended: how many records were handed out, those of the last page whether they
    /// were used or not, and whether whoever asked has all of them. Answers how many.
    ///
    /// # Errors
    ///
    /// [`Error::ReadCountNotRecorded`] when it cannot be recorded.
    pub async fn end(self, complete: bool) -> Result<u64, Error> {
        let is_whole = complete && matches!(self.place, Place::Nowhere);
        let told = self.record("exported", Some(is_whole)).await;
        told.map_err(Error::after_read)?;
        Ok(self.records)
    }

    async fn record(&self, kind: &str, complete: Option<bool>) -> Result<(), Error> {
        let continued = ("continued", self.continued.is_some().into());
        let ended = complete.map(|complete| {
            [
                ("complete", complete.into()),
                ("settled", self.settled.into()),
            ]
        });
        let manifest = self.manifest.clone();
        let manifest = manifest.map(|sha256| (MANIFEST, Value::from(sha256)));
        let more = [continued]
            .into_iter()
            .chain(self.continued.clone())
            .chain(ended.into_iter().flatten())
            .chain(manifest);
        self.reading
            .record_with(kind, &self.query, self.records, more)
            .await
    }
}
