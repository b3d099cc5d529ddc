use super::reader::Reading;
use super::{AuditQuery, Cursor};
use crate::error::Error;
use crate::record::AuditRecord;
use crate::store::AuditDatabase;

/// How many records are read at once.
const PAGE: u16 = 1_000;

/// All records of a query on their way out, page by page. See [`Reading::export`].
#[derive(Debug)]
#[must_use = "an export has to be ended, which records how many records it handed out"]
pub struct Export<DB: AuditDatabase> {
    reading: Reading<DB>,
    query: AuditQuery,
    place: Place,
    continued: bool,
    records: u64,
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
    /// # Errors
    ///
    /// [`Error::Reading`] when that cannot be recorded.
    pub async fn export(
        &self,
        query: &AuditQuery,
        cursor: Option<Cursor>,
    ) -> Result<Export<DB>, Error> {
        let query = query.clone().limit(PAGE);
        let continued = cursor.is_some();
        let more = [("continued", continued)];
        self.record_with("export", &query, 0, &more).await?;
        Ok(Export {
            reading: self.clone(),
            query,
            place: cursor.map_or(Place::First, Place::After),
            continued,
            records: 0,
        })
    }
}

impl<DB: AuditDatabase> Export<DB> {
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

    /// Records how it ended: how many records were handed out, those of the last page whether they
    /// were used or not, and whether whoever asked has all of them. Answers how many.
    ///
    /// # Errors
    ///
    /// [`Error::ReadingEnd`] when it cannot be recorded.
    pub async fn end(self, complete: bool) -> Result<u64, Error> {
        let is_whole = complete && matches!(self.place, Place::Nowhere);
        let more = [("complete", is_whole), ("continued", self.continued)];
        let told = self
            .reading
            .record_with("exported", &self.query, self.records, &more);
        told.await.map_err(Error::at_the_end)?;
        Ok(self.records)
    }
}
