use axum::extract::{MatchedPath, OriginalUri};
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::reader::AuditReader;
use super::statement::Statement;
use super::{AuditQuery, Cursor, Direction, SortBy};
use crate::actor_source::{ClientAddresses, client_address};
use crate::error::{Error, kind};
use crate::operation::{RequestFacts, TraceIds, now};
use crate::record::{Actor, AuditRecord, Key, Outcome, bound_record};
use crate::store::{AuditDatabase, Dialect, connection_failed};

/// The audit log as somebody reads it. See [`AuditReader::asked_by`].
///
/// Each answer leaves a record (`audit.read`) before it is handed out. Its details say what kind of
/// `answer` it was, the `query`, and in `records` how many came back: of a page or an export the
/// records, of a summary the values, of a count the number itself.
#[derive(Debug)]
pub struct Reading<DB: AuditDatabase> {
    reader: AuditReader<DB>,
    actor: Actor,
    reason: Option<String>,
    request: Option<RequestFacts>,
}

/// Whose log was read, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Origin {
    /// The service.
    pub service: String,
    /// Its audit schema (SQLite: the prefix of the tables).
    pub schema: String,
    /// The id of the actor who read.
    pub reader: String,
    /// Why, if that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Origin {
    /// The log of `service` in `schema`, read by the actor of this id.
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

/// Some of the records that a query asks for, in its order.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Page {
    /// At most as many as the query's limit.
    pub records: Vec<AuditRecord>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
    /// Where the page before this one ends, if this is not the first.
    pub previous: Option<Cursor>,
}

impl<DB: AuditDatabase> AuditReader<DB> {
    /// Says who reads, which every reading leaves a record of.
    pub fn asked_by(&self, actor: Actor) -> Reading<DB> {
        Reading {
            reader: self.clone(),
            actor,
            reason: None,
            request: None,
        }
    }
}

impl<DB: AuditDatabase> Reading<DB> {
    /// Says why.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Says through which request, for a page that shows records: its facts become the reading's.
    #[must_use]
    pub fn through(mut self, parts: &Parts) -> Self {
        self.request = Some(facts(parts, self.reader.client_addresses.as_ref()));
        self
    }

    /// Whose log is read, and by whom, for what is made of it.
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

    /// A page of the records that `query` asks for: the first, or the one at `cursor`. Pages are
    /// stable: whatever is written meanwhile, no record is there twice, and none that was there
    /// before is missed.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidQuery`] when the limit is out of bounds or the cursor is of another order;
    /// [`Error::Store`] when the database cannot be asked; [`Error::ReadNotRecorded`] when the reading cannot
    /// be recorded, and so nothing is handed out.
    pub async fn page(&self, query: &AuditQuery, cursor: Option<&Cursor>) -> Result<Page, Error> {
        let page = self.unrecorded_page(query, cursor).await?;
        let records = page.records.len() as u64;
        let place = cursor.map(Cursor::told);
        self.record_with("page", query, records, place).await?;
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
        let beside = |record: Option<&AuditRecord>, before| {
            let cursor = record.map(|record| Cursor::beside(record, query, before));
            cursor.filter(|cursor| !cursor.is_at_the_end())
        };
        let (has_next, has_previous) = if backwards {
            (true, more)
        } else {
            (more, cursor.is_some())
        };
        Ok(Page {
            next: beside(records.last().filter(|_| has_next), false),
            previous: beside(records.first().filter(|_| has_previous), true),
            records,
        })
    }

    /// The record of this id; the first, if the service wrote the id again in another month.
    ///
    /// # Errors
    ///
    /// As [`page`](Self::page).
    pub async fn find(&self, id: Uuid) -> Result<Option<AuditRecord>, Error> {
        Ok(self.records(id).await?.into_iter().next())
    }

    /// All records of this id, the first one first. There is more than one only if the service wrote
    /// the id again in another month: Postgres keeps it unique in each month.
    ///
    /// # Errors
    ///
    /// As [`page`](Self::page).
    pub async fn records(&self, id: Uuid) -> Result<Vec<AuditRecord>, Error> {
        let query = AuditQuery::new().record_id(id);
        let query = query.sort(SortBy::RecordedAt, Direction::Ascending);
        Ok(self.page(&query, None).await?.records)
    }

    /// What happened to a resource, oldest first: the page at `cursor`, or the first.
    ///
    /// # Errors
    ///
    /// As [`page`](Self::page).
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

    /// Hands every record that `query` asks for to `take`, in its order and in constant memory; answers
    /// how many there were. It is an [export](Self::export) that ends with the last record, or with
    /// the first error.
    ///
    /// # Errors
    ///
    /// As [`page`](Self::page), and whatever `take` returns.
    pub async fn each<E: From<Error>>(
        &self,
        query: &AuditQuery,
        mut take: impl FnMut(AuditRecord) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut export = self.export(query, None).await?;
        let taken: Result<(), E> = async {
            while let Some(records) = export.next_page().await? {
                records.into_iter().try_for_each(&mut take)?;
            }
            Ok(())
        }
        .await;
        let recorded = export.end(taken.is_ok()).await;
        taken?;
        Ok(recorded?)
    }

    /// How Postgres gets at a page: the lines of `EXPLAIN (ANALYZE)`, which runs it. They hold
    /// the values that are asked for. On SQLite there are none.
    ///
    /// # Errors
    ///
    /// As [`page`](Self::page).
    pub async fn explain(
        &self,
        query: &AuditQuery,
        cursor: Option<&Cursor>,
    ) -> Result<Vec<String>, Error> {
        if self.dialect() == Dialect::Sqlite {
            return Ok(Vec::new());
        }
        let mut statement = self.statement(query, cursor)?;
        statement.text.insert_str(0, "EXPLAIN (ANALYZE) ");
        let plan = self.reader.texts(statement).await?;
        let place = cursor.map(Cursor::told);
        self.record_with("explain", query, 0, place).await?;
        Ok(plan)
    }

    /// The statement of a page, and one record more, which tells whether there is more.
    fn statement(&self, query: &AuditQuery, cursor: Option<&Cursor>) -> Result<Statement, Error> {
        let size = query.page_size()?;
        let place = cursor.map(|cursor| cursor.place(query)).transpose()?;
        Statement::page(self.dialect(), self.schema(), query, place, size + 1)
    }

    /// The rows of a statement that answers JSON.
    pub(super) async fn fetch<T: DeserializeOwned>(
        &self,
        statement: Statement,
    ) -> Result<Vec<T>, Error> {
        let rows = self.reader.texts(statement).await?;
        rows.iter()
            .map(|row| serde_json::from_str(row))
            .collect::<Result<_, _>>()
            .map_err(not_decoded)
    }

    /// The records of a statement. One that cannot be read hides no other: it is marked.
    pub(super) async fn fetch_records(
        &self,
        statement: Statement,
    ) -> Result<Vec<AuditRecord>, Error> {
        let keys = statement.keys();
        match self.reader.texts(statement).await {
            Ok(rows) => {
                let read = rows.iter().map(|row| AuditRecord::from_row(row));
                read.collect::<Result<_, _>>().map_err(not_decoded)
            }
            Err(Error::Store(error)) if is_of_a_row(&error) => self.fetch_each(keys).await,
            Err(error) => Err(error),
        }
    }

    /// Reads records one by one, as one of them made the statement for all fail.
    async fn fetch_each(&self, keys: Statement) -> Result<Vec<AuditRecord>, Error> {
        let mut records = Vec::new();
        for key in self.fetch::<Key>(keys).await? {
            let row = Statement::row(self.dialect(), self.schema(), &key);
            let record = match self.reader.texts(row).await {
                Ok(rows) => match rows.first() {
                    Some(row) => AuditRecord::from_row(row),
                    // Retention removed its partition meanwhile.
                    None => continue,
                },
                Err(Error::Store(error)) if is_of_a_row(&error) => {
                    AuditRecord::unreadable(&key, &kind(&error))
                }
                Err(error) => return Err(error),
            };
            records.push(record.map_err(not_decoded)?);
        }
        Ok(records)
    }

    /// Leaves a record of this reading: `kind` of answer, the query and how many rows it has.
    pub(super) async fn record(
        &self,
        kind: &str,
        query: &AuditQuery,
        rows: u64,
    ) -> Result<(), Error> {
        self.record_with(kind, query, rows, []).await
    }

    /// The same, and what else there is to say of it.
    pub(super) async fn record_with(
        &self,
        kind: &str,
        query: &AuditQuery,
        rows: u64,
        more: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Result<(), Error> {
        let mut record = self.of_reading();
        let query = serde_json::to_value(query).unwrap_or_default();
        let details = &mut record.details;
        details.insert("query".to_owned(), query);
        details.insert("answer".to_owned(), kind.into());
        details.insert("records".to_owned(), rows.into());
        if let Some([os_user, host]) = &self.reader.machine {
            details.insert("os_user".to_owned(), os_user.as_str().into());
            details.insert("host".to_owned(), host.as_str().into());
        }
        for (name, value) in more {
            details.insert(name.to_owned(), value);
        }
        bound_record(&mut record);
        // Or else the record would not say what was read.
        if record.cut.iter().any(|name| name.starts_with("details")) {
            return Err(Error::InvalidQuery(
                "it is too long to be recorded, as each reading is: at most 4 KiB for each value, and 16 KiB in all".to_owned(),
            ));
        }
        let text = serde_json::to_string(&[&record]).unwrap_or_default();
        let mut connection = self
            .reader
            .pool
            .acquire()
            .await
            .map_err(Error::ReadNotRecorded)?;
        let (statement, arguments) = self.dialect().record_read(self.schema(), text, record.id);
        DB::run(&mut connection, statement.into(), |put| {
            arguments.iter().for_each(|it| put(it.as_str().into()));
        })
        .await
        .map_err(Error::ReadNotRecorded)?;
        Ok(())
    }

    fn of_reading(&self) -> AuditRecord {
        let trace = TraceIds::current();
        let request = self.request.as_ref();
        AuditRecord {
            id: Uuid::now_v7(),
            xid: None,
            occurred_at: now(),
            recorded_at: None,
            service: self.reader.service.clone(),
            service_version: None,
            actor: self.actor.clone(),
            action: "audit.read".to_owned(),
            resource_type: Some("audit_record".to_owned()),
            resource_id: None,
            outcome: Outcome::Success,
            status: None,
            error_type: None,
            reason: self.reason.clone(),
            request_id: request.and_then(|request| request.request_id.clone()),
            method: request.map(|request| request.method.clone()),
            route: request.and_then(|request| request.route.clone()),
            path: request.map(|request| request.path.clone()),
            client_address: request.and_then(|request| request.client_address.clone()),
            user_agent: request.and_then(|request| request.user_agent.clone()),
            trace_id: trace.as_ref().map(|trace| trace.trace.clone()),
            span_id: trace.map(|trace| trace.span),
            changes: std::collections::BTreeMap::new(),
            details: serde_json::Map::new(),
            cut: Vec::new(),
        }
    }
}

fn not_decoded(error: serde_json::Error) -> Error {
    Error::Store(sqlx::Error::Decode(Box::new(error)))
}

/// Whether a statement may have failed for what one of its rows holds: too large (54), out of memory
/// for it (53200), or no such value (22, XX); SQLite has no such classes.
fn is_of_a_row(error: &sqlx::Error) -> bool {
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

fn facts(parts: &Parts, client_addresses: Option<&ClientAddresses>) -> RequestFacts {
    let header = |name: &str| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
    let extensions = &parts.extensions;
    RequestFacts {
        request_id: header("x-request-id"),
        method: parts.method.to_string(),
        route: extensions
            .get::<MatchedPath>()
            .map(|path| path.as_str().to_owned()),
        path: extensions
            .get::<OriginalUri>()
            .map_or(&parts.uri, |uri| &uri.0)
            .path()
            .to_owned(),
        client_address: client_address(client_addresses, parts).map(|address| address.to_string()),
        user_agent: header("user-agent"),
        repeated: Vec::new(),
    }
}

// Not derived, as the database itself need not be `Clone`.
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
