use std::time::{Duration, Instant};

use serde_json::Value;

use super::reading::Reading;
use super::statement::Statement;
use super::{AuditQuery, Cursor};
use crate::error::Error;
use crate::record::AuditRecord;
use crate::store::{AuditDatabase, SETTLING};

/// Key in the `details` of an `exported` record for the SHA-256 of the manifest.
const MANIFEST: &str = "manifest_sha256";

/// Page size, in records.
const PAGE_SIZE: u16 = 1_000;

/// A running export: all records that match a query, page by page. See [`Reading::export`].
#[derive(Debug)]
#[must_use = "call `finish` so that the number of exported records is recorded"]
pub struct Export<DB: AuditDatabase> {
    reading: Reading<DB>,
    query: AuditQuery,
    next: NextPage,
    /// The start position of a resumed export, as an entry in the `details` of its records.
    resumed_from: Option<(&'static str, Value)>,
    settled: bool,
    records: u64,
    /// SHA-256 of the manifest of the exported file, in hexadecimal.
    manifest: Option<String>,
}

/// The start of the next page.
#[derive(Debug)]
enum NextPage {
    First,
    After(Cursor),
    Done,
}

impl<DB: AuditDatabase> Reading<DB> {
    /// Starts an export of all records that match `query`, in its sort order: from the beginning,
    /// or after `cursor` to resume an interrupted export.
    ///
    /// The start is recorded (`export`), and [`Export::finish`] records the end (`exported`). A
    /// start without an end means that the export was dropped or the process was killed.
    ///
    /// If the period has already ended, this first waits up to five seconds for transactions that
    /// were open in it: see [`Export::is_settled`].
    ///
    /// # Errors
    ///
    /// [`Error::ReadNotRecorded`] if the start cannot be recorded; [`Error::InvalidQuery`] if the
    /// record at `cursor` does not exist in this log, for example because the cursor comes from
    /// another database.
    pub async fn export(
        &self,
        query: &AuditQuery,
        cursor: Option<Cursor>,
    ) -> Result<Export<DB>, Error> {
        let query = query.clone().limit(PAGE_SIZE);
        if let Some(cursor) = &cursor {
            self.check_cursor(cursor).await?;
        }
        let mut export = Export {
            reading: self.clone(),
            query,
            resumed_from: cursor.as_ref().map(Cursor::as_detail),
            next: cursor.map_or(NextPage::First, NextPage::After),
            settled: false,
            records: 0,
            manifest: None,
        };
        export.record("export", None).await?;
        export.settled = self.settled(&export.query).await?;
        Ok(export)
    }

    /// Finds the record of the export whose manifest has this SHA-256, in hexadecimal
    /// (`Manifest::own_sha256`). `None` means that the manifest was changed since or that the
    /// export was made from another log. If several match, the first is returned.
    ///
    /// Anyone with read access can also record an export that never took place; the record names
    /// the actor.
    ///
    /// # Errors
    ///
    /// The same as [`page`](Self::page).
    pub async fn find_export(&self, manifest_sha256: &str) -> Result<Option<AuditRecord>, Error> {
        let query = AuditQuery::new().action("audit.read");
        let dialect = self.dialect();
        let mut statement = Statement::select(dialect, self.schema(), dialect.sql().row());
        statement.conditions(&query)?;
        let sha256 = statement.argument(manifest_sha256, "text");
        // Valid in both SQL dialects.
        statement.and(&format!(
            "record.details ->> 'kind' = 'exported' AND record.details ->> '{MANIFEST}' = {sha256}"
        ));
        let order = " ORDER BY record.recorded_at, record.id LIMIT 1";
        statement.text.push_str(order);
        let found = self.fetch_records(statement).await?.pop();
        let details = [(MANIFEST, Value::from(manifest_sha256))];
        let records = u64::from(found.is_some());
        self.record_with("export_record", &query, records, details)
            .await?;
        Ok(found)
    }

    /// Fails if the record at `cursor` is not in this log.
    async fn check_cursor(&self, cursor: &Cursor) -> Result<(), Error> {
        let dialect = self.dialect();
        let mut statement = Statement::select(dialect, self.schema(), dialect.sql().count());
        let id = statement.argument(cursor.id().to_string(), "uuid");
        let recorded_at = statement.time_argument(cursor.recorded_at());
        statement.and(&format!(
            "record.id = {id} AND record.recorded_at = {recorded_at}"
        ));
        if self.fetch::<u64>(statement).await? == [0] {
            return Err(Error::InvalidQuery(format!(
                "the record {} of {} at which to resume is not in this log: the cursor comes from another database, or the record was removed since",
                cursor.id(),
                cursor.recorded_at()
            )));
        }
        Ok(())
    }

    /// Whether the result of `query` is final: its period has ended, and so have all transactions
    /// that were open in it. Polls for up to [`SETTLING`].
    async fn settled(&self, query: &AuditQuery) -> Result<bool, Error> {
        let Some(until) = query.until else {
            return Ok(false);
        };
        if self.horizon().await?.now < until {
            return Ok(false);
        }
        let Some((now, ended)) = self.dialect().settled() else {
            // SQLite has a single writer, and this export's own record was the last write.
            return Ok(true);
        };
        let started = Instant::now();
        let now = Statement::new(self.dialect(), now);
        let now = self.fetch::<u64>(now).await?;
        loop {
            let mut has_ended = Statement::new(self.dialect(), ended);
            has_ended.arguments.extend(now.iter().map(u64::to_string));
            if self.fetch::<bool>(has_ended).await? == [true] {
                break;
            }
            if started.elapsed() > SETTLING {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(true)
    }
}

impl<DB: AuditDatabase> Export<DB> {
    /// Whether the result is final: the period has ended, and so has every transaction that was
    /// open in it. Repeating the export then yields the same records.
    ///
    /// Otherwise, or if the query has no `until`, records may still be committed with a
    /// `recorded_at` earlier than the last one exported here.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Returns the next page of at most 1,000 records, or `None` after the last.
    ///
    /// # Errors
    ///
    /// The same as [`Reading::page`]. A failed call can be retried: the position does not change.
    pub async fn next_page(&mut self) -> Result<Option<Vec<AuditRecord>>, Error> {
        let cursor = match &self.next {
            NextPage::First => None,
            NextPage::After(cursor) => Some(cursor),
            NextPage::Done => return Ok(None),
        };
        let page = self.reading.unrecorded_page(&self.query, cursor).await?;
        self.next = page.next.map_or(NextPage::Done, NextPage::After);
        self.records += page.records.len() as u64;
        Ok(Some(page.records))
    }

    /// Sets the SHA-256 of the exported file's manifest, in hexadecimal. It is stored in the
    /// export's final record, where [`Reading::find_export`] looks it up to detect a changed
    /// manifest.
    pub fn set_manifest_sha256(&mut self, sha256: impl Into<String>) {
        self.manifest = Some(sha256.into());
    }

    /// Records the end of the export and returns the number of exported records. Records of the
    /// last page count, whether or not the caller used them.
    ///
    /// `complete` states whether the caller has processed everything; the export is recorded as
    /// complete only if its last page was also reached.
    ///
    /// # Errors
    ///
    /// [`Error::ReadCountNotRecorded`] if the end cannot be recorded.
    pub async fn finish(self, complete: bool) -> Result<u64, Error> {
        let is_complete = complete && matches!(self.next, NextPage::Done);
        let recorded = self.record("exported", Some(is_complete)).await;
        recorded.map_err(Error::after_read)?;
        Ok(self.records)
    }

    async fn record(&self, kind: &str, complete: Option<bool>) -> Result<(), Error> {
        let continued = ("continued", self.resumed_from.is_some().into());
        let ended = complete.map(|complete| {
            [
                ("complete", complete.into()),
                ("settled", self.settled.into()),
            ]
        });
        let manifest = self.manifest.clone();
        let manifest = manifest.map(|sha256| (MANIFEST, Value::from(sha256)));
        let details = [continued]
            .into_iter()
            .chain(self.resumed_from.clone())
            .chain(ended.into_iter().flatten())
            .chain(manifest);
        self.reading
            .record_with(kind, &self.query, self.records, details)
            .await
    }
}
