use std::io::Write;

use super::csv::{COLUMNS, to_row};
use super::{ExportError, Format};
use crate::record::AuditRecord;

/// Writes records in a format, one by one. It holds no more than one of them.
#[derive(Debug)]
pub struct Encoder<W: Write> {
    inner: Inner<W>,
    records: u64,
}

#[derive(Debug)]
enum Inner<W: Write> {
    Json(W),
    JsonLines(W),
    Csv(Box<csv::Writer<W>>),
}

impl<W: Write> Encoder<W> {
    /// Begins, with the header where the format has one.
    ///
    /// # Errors
    ///
    /// When `out` does not take it.
    pub fn new(format: Format, out: W) -> Result<Self, ExportError> {
        let inner = match format {
            Format::Json => Inner::Json(out),
            Format::JsonLines => Inner::JsonLines(out),
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new()
                    .terminator(csv::Terminator::CRLF)
                    .from_writer(out);
                writer.write_record(COLUMNS).map_err(in_csv)?;
                Inner::Csv(Box::new(writer))
            }
        };
        Ok(Self { inner, records: 0 })
    }

    /// Writes a record.
    ///
    /// # Errors
    ///
    /// When what is written to does not take it; what was written is then no whole export.
    pub fn write(&mut self, record: &AuditRecord) -> Result<(), ExportError> {
        match &mut self.inner {
            Inner::Json(out) => {
                out.write_all(if self.records == 0 { b"[\n" } else { b",\n" })?;
                serde_json::to_writer(out, record).map_err(std::io::Error::from)?;
            }
            Inner::JsonLines(out) => {
                serde_json::to_writer(&mut *out, record).map_err(std::io::Error::from)?;
                out.write_all(b"\n")?;
            }
            Inner::Csv(writer) => writer.write_record(to_row(record)).map_err(in_csv)?,
        }
        self.records += 1;
        Ok(())
    }

    /// Ends; answers with what was written to.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn finish(self) -> Result<W, ExportError> {
        let mut out = match self.inner {
            Inner::Json(mut out) => {
                out.write_all(if self.records == 0 { b"[]\n" } else { b"\n]\n" })?;
                out
            }
            Inner::JsonLines(out) => out,
            Inner::Csv(writer) => writer
                .into_inner()
                .map_err(|error| ExportError::Write(error.into_error()))?,
        };
        out.flush()?;
        Ok(out)
    }
}

fn in_csv(error: csv::Error) -> ExportError {
    ExportError::Write(std::io::Error::other(error))
}
