use http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::reader::AuditReader;
use super::statement::Statement;
use super::{AuditQuery, Cursor, Direction, SortBy};
use crate::error::{Error, kind};
use crate::operation::{Operation, RequestFacts};
use crate::record::{Actor, AuditRecord, Key, Outcome, bound_record};
use crate::store::{AuditDatabase, Dialect, connection_failed};

/// Access to the audit log on behalf of one actor. See [`AuditReader::read_as`].
///
/// Every read is recorded (action `audit.read`) before its results are returned. The record's
/// `details` contain the kind of read (`kind`), the `query`, and in `records` the number of
/// results: records for a page or an export, values for a summary, the count itself for a count.
#[derive(Debug)]
pub struct Reading<DB: AuditDatabase> {
    reader: AuditReader<DB>,
    actor: Actor,
    reason: Option<String>,
    request: Option<RequestFacts>,
}

/// Which log is read, and by which actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Origin {
    /// The service.
    pub service: String,
    /// Its audit schema (on SQLite, the table prefix).
    pub schema: String,
    /// The id of the reading actor.
    pub reader: String,
    /// The reason for reading, if one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Origin {
    /// The log of `service` in `schema`, read by the actor with this id.
    pub fn new(
        service: impl Into<String>,
        schema: impl Into<String>,
        reader: impl Into<String>,
    ) -> Self {
        Self {
            service: service.into(),
            schema: schema.into(),
            reader: reader.into(),
            reason: None,
        }
    }
}

/// One page of the records that match a query, in its sort order.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Page {
    /// The records, at most as many as the query's limit.
    pub records: Vec<AuditRecord>,
    /// Cursor of the next page, if there is one.
    pub next: Option<Cursor>,
    /// Cursor of the previous page, unless this is the first.
    pub previous: Option<Cursor>,
}

impl<DB: AuditDatabase> AuditReader<DB> {
    /// Returns access on behalf of `actor`, who is recorded with each read.
    pub fn read_as(&self, actor: Actor) -> Reading<DB> {
        Reading {
            reader: self.clone(),
            actor,
            reason: None,
            request: None,
        }
    }
}

impl<DB: AuditDatabase> Reading<DB> {
    /// Sets the reason for reading, which is recorded.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Sets the HTTP request that reads the records. Its method, route, client address and other
    /// attributes are recorded.
    #[must_use]
    pub fn via_request(mut self, parts: &Parts) -> Self {
        let client_addresses = self.reader.client_addresses.as_ref();
        self.request = Some(RequestFacts::from_parts(parts, client_addresses));
        self
    }

    /// Returns which log is read, and by which actor, for example for the manifest of an export.
    pub fn origin(&self) -> Origin {
        Origin {
            service: self.reader.service.clone(),
            schema: self.reader.schema.clone(),
            reader: self.actor.id.clone(),
            reason: self.reason.clone(),
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.reader.dialect
    }

    pub(super) fn schema(&self) -> &str {
        &self.reader.schema
    }

    /// Returns a page of the records that match `query`: the first, or the one at `cursor`.
    ///
    /// This is keyset pagination: while records are being written, no record is returned twice, and
    /// none that existed before is skipped.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidQuery`] if the limit is out of bounds or the cursor belongs to another sort
    /// order; [`Error::Store`] if the query fails; [`Error::ReadNotRecorded`] if the read cannot be
    /// recorded, in which case nothing is returned.
    pub async fn page(&self, query: &AuditQuery, cursor: Option<&Cursor>) -> Result<Page, Error> {
        let page = self.unrecorded_page(query, cursor).await?;
        let records = page.records.len() as u64;
        let position = cursor.map(Cursor::as_detail);
        self.record_with("page", query, records, position).await?;
        Ok(page)
    }

    pub(super) async fn unrecorded_page(
        &self,
        query: &AuditQuery,
        cursor: Option<&Cursor>,
    ) -> Result<Page, Error> {
        let size = query.page_size()?;
        let mut records = self.fetch_records(self.statement(query, cursor)?).await?;
        let more = records.len() > size;
        records.truncate(size);
        let backwards = cursor.is_some_and(Cursor::is_before);
        if backwards {
            records.reverse();
        }
        let cursor_at = |record: Option<&AuditRecord>, before| {
            let cursor = record.map(|record| Cursor::at_record(record, query, before));
            cursor.filter(|cursor| !cursor.is_at_end_of_time())
        };
        let (has_next, has_previous) = if backwards {
            (true, more)
        } else {
            (more, cursor.is_some())
        };
        Ok(Page {
            next: cursor_at(records.last().filter(|_| has_next), false),
            previous: cursor_at(records.first().filter(|_| has_previous), true),
            records,
        })
    }

    /// Returns the record with this id. If there are several, the oldest; see
    /// [`find_all`](Self::find_all).
    ///
    /// # Errors
    ///
    /// The same as [`page`](Self::page).
    pub async fn find(&self, id: Uuid) -> Result<Option<AuditRecord>, Error> {
        Ok(self.find_all(id).await?.into_iter().next())
    }

    /// Returns all records with this id, oldest first. There is normally at most one: Postgres
    /// keeps the id unique within a month, but the service's role can write it again in another
    /// month.
    ///
    /// # Errors
    ///
    /// The same as [`page`](Self::page).
    pub async fn find_all(&self, id: Uuid) -> Result<Vec<AuditRecord>, Error> {
        let query = AuditQuery::new().record_id(id);
        let query = query.sort(SortBy::RecordedAt, Direction::Ascending);
        Ok(self.page(&query, None).await?.records)
    }

    /// Returns the history of a resource, oldest first: the first page, or the one at `cursor`.
    ///
    /// # Errors
    ///
    /// The same as [`page`](Self::page).
    pub async fn history(
        &self,
        resource_type: &str,
        resource_id: &str,
        cursor: Option<&Cursor>,
    ) -> Result<Page, Error> {
        let query = AuditQuery::new()
            .resource(resource_type, resource_id)
            .sort(SortBy::RecordedAt, Direction::Ascending);
        self.page(&query, cursor).await
    }

    /// Calls `f` with every record that matches `query`, in its sort order and in constant memory,
    /// and returns their number. This is an [export](Self::export) that ends after the last record
    /// or the first error.
    ///
    /// # Errors
    ///
    /// The same as [`page`](Self::page), and any error that `f` returns.
    pub async fn for_each<E: From<Error>>(
        &self,
        query: &AuditQuery,
        mut f: impl FnMut(AuditRecord) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut export = self.export(query, None).await?;
        let taken: Result<(), E> = async {
            while let Some(records) = export.next_page().await? {
                records.into_iter().try_for_each(&mut f)?;
            }
            Ok(())
        }
        .await;
        let recorded = export.finish(taken.is_ok()).await;
        taken?;
        Ok(recorded?)
    }

    /// Returns the Postgres query plan of a page: the output of `EXPLAIN (ANALYZE)`, which runs the
    /// query. The plan contains the query's values. Empty on SQLite.
    ///
    /// # Errors
    ///
    /// The same as [`page`](Self::page).
    pub async fn explain(
        &self,
        query: &AuditQuery,
        cursor: Option<&Cursor>,
    ) -> Result<Vec<String>, Error> {
        let Some(explain) = self.dialect().sql().explain() else {
            return Ok(Vec::new());
        };
        let mut statement = self.statement(query, cursor)?;
        statement.text.insert_str(0, explain);
        let plan = self.reader.fetch_texts(statement).await?;
        let position = cursor.map(Cursor::as_detail);
        self.record_with("explain", query, 0, position).await?;
        Ok(plan)
    }

    /// The statement of a page. It fetches one extra record to find out whether there is a next
    /// page.
    fn statement(&self, query: &AuditQuery, cursor: Option<&Cursor>) -> Result<Statement, Error> {
        let size = query.page_size()?;
        let position = cursor.map(|cursor| cursor.position(query)).transpose()?;
        Statement::page(self.dialect(), self.schema(), query, position, size + 1)
    }

    /// Runs a statement that returns one JSON text per row, and decodes the rows.
    pub(super) async fn fetch<T: DeserializeOwned>(
        &self,
        statement: Statement,
    ) -> Result<Vec<T>, Error> {
        let rows = self.reader.fetch_texts(statement).await?;
        rows.iter()
            .map(|row| serde_json::from_str(row))
            .collect::<Result<_, _>>()
            .map_err(decode_error)
    }

    /// Runs a statement that returns records. If a single record cannot be read, it is returned
    /// marked as unreadable, and the others are still returned.
    pub(super) async fn fetch_records(
        &self,
        statement: Statement,
    ) -> Result<Vec<AuditRecord>, Error> {
        let keys = statement.keys();
        match self.reader.fetch_texts(statement).await {
            Ok(rows) => {
                let read = rows.iter().map(|row| AuditRecord::from_row(row));
                read.collect::<Result<_, _>>().map_err(decode_error)
            }
            Err(Error::Store(error)) if is_row_error(&error) => self.fetch_each(keys).await,
            Err(error) => Err(error),
        }
    }

    /// Reads the records one by one after a malformed one made the whole statement fail.
    async fn fetch_each(&self, keys: Statement) -> Result<Vec<AuditRecord>, Error> {
        let mut records = Vec::new();
        for key in self.fetch::<Key>(keys).await? {
            let row = Statement::row(self.dialect(), self.schema(), &key);
            let record = match self.reader.fetch_texts(row).await {
                Ok(rows) => match rows.first() {
                    Some(row) => AuditRecord::from_row(row),
                    // Retention dropped its partition in the meantime.
                    None => continue,
                },
                Err(Error::Store(error)) if is_row_error(&error) => {
                    AuditRecord::unreadable(&key, &kind(&error))
                }
                Err(error) => return Err(error),
            };
            records.push(record.map_err(decode_error)?);
        }
        Ok(records)
    }

    /// Records this read: its `kind`, the query and the number of rows.
    pub(super) async fn record(
        &self,
        kind: &str,
        query: &AuditQuery,
        rows: u64,
    ) -> Result<(), Error> {
        self.record_with(kind, query, rows, []).await
    }

    /// Like [`record`](Self::record), with additional `details`.
    pub(super) async fn record_with(
        &self,
        kind: &str,
        query: &AuditQuery,
        rows: u64,
        more_details: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Result<(), Error> {
        let mut record = self.new_record();
        let query = serde_json::to_value(query).unwrap_or_default();
        let details = &mut record.details;
        details.insert("query".to_owned(), query);
        details.insert("kind".to_owned(), kind.into());
        details.insert("records".to_owned(), rows.into());
        if let Some([os_user, host]) = &self.reader.machine {
            details.insert("os_user".to_owned(), os_user.as_str().into());
            details.insert("host".to_owned(), host.as_str().into());
        }
        for (name, value) in more_details {
            details.insert(name.to_owned(), value);
        }
        bound_record(&mut record);
        // A truncated query would not show what was read.
        if record.cut.iter().any(|name| name.starts_with("details")) {
            return Err(Error::InvalidQuery(
                "it is too long to be recorded, as every read is: use at most 4 KiB for each value, and 16 KiB in all".to_owned(),
            ));
        }
        let text = serde_json::to_string(&[&record]).unwrap_or_default();
        let mut connection = self
            .reader
            .pool
            .acquire()
            .await
            .map_err(Error::ReadNotRecorded)?;
        let sql = self.dialect().sql();
        let (statement, arguments) = sql.record_read(self.schema(), text, record.id);
        DB::run(&mut connection, statement.into(), |put| {
            arguments.iter().for_each(|it| put(it.as_str().into()));
        })
        .await
        .map_err(Error::ReadNotRecorded)?;
        Ok(())
    }

    fn new_record(&self) -> AuditRecord {
        let operation = Operation {
            resource_type: Some("audit_record".into()),
            reason: self.reason.clone(),
            request: self.request.clone(),
            ..Operation::unlimited(self.actor.clone(), "audit.read".into())
        };
        operation.record(&self.reader.service, None, Outcome::Success, None)
    }
}

fn decode_error(error: serde_json::Error) -> Error {
    Error::Store(sqlx::Error::Decode(Box::new(error)))
}

/// Whether a statement may have failed because of the contents of one row: too large (class 54),
/// out of memory for it (53200), or an invalid value (22, XX). SQLite has no such classes.
fn is_row_error(error: &sqlx::Error) -> bool {
    let Some(refused) = error.as_database_error() else {
        return false;
    };
    match refused.code() {
        Some(code) if code.len() == 5 => {
            !connection_failed(error)
                && (["54", "22", "XX"].contains(&&code[..2]) || code == "53200")
        }
        _ => refused.message().contains("JSON"),
    }
}

// Not derived: that would require `DB: Clone`.
impl<DB: AuditDatabase> Clone for Reading<DB> {
    fn clone(&self) -> Self {
        Self {
            reader: self.reader.clone(),
            actor: self.actor.clone(),
            reason: self.reason.clone(),
            request: self.request.clone(),
        }
    }
}
