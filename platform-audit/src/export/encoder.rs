use std::fmt;
use std::fs::File;
use std::io::{Read, Write};

use super::csv::{to_row, write_row};
use super::parquet::ParquetEncoder;
use super::{ExportError, Format, fhir, ocsf};
use crate::record::{AuditRecord, COLUMNS};
use crate::text::escape_json;

/// Checkpoint interval of the line-based formats, in records.
const REST: u64 = 4_096;

/// Encodes records one by one. Buffers at most one record; for Parquet, one row group (32 MiB of
/// text, or 32,768 records).
pub struct Encoder<W: Write + Send> {
    format: Format,
    inner: Inner<W>,
    records: u64,
}

enum Inner<W: Write + Send> {
    Lines(W),
    Csv(W),
    Parquet(Box<ParquetEncoder<W>>),
}

impl<W: Write + Send> Encoder<W> {
    /// Creates an encoder, and writes the header if the format has one.
    ///
    /// # Errors
    ///
    /// [`ExportError::Write`] if `out` fails.
    pub fn new(format: Format, out: W) -> Result<Self, ExportError> {
        let mut begun = Self::bare(format, out, 0)?;
        if let Inner::Csv(out) = &mut begun.inner {
            write_row(out, COLUMNS.iter().map(|column| column.name))?;
        }
        Ok(begun)
    }

    /// Continues an export: copies the first `bytes` of `written`, which contain `records` records.
    pub(super) fn continued(
        format: Format,
        mut out: W,
        written: &File,
        bytes: u64,
        records: u64,
    ) -> Result<Self, ExportError> {
        if format != Format::Parquet {
            std::io::copy(&mut written.take(bytes), &mut out)?;
        }
        let mut begun = Self::bare(format, out, records)?;
        if let Inner::Parquet(parquet) = &mut begun.inner {
            parquet.append(written)?;
        }
        Ok(begun)
    }

    fn bare(format: Format, out: W, records: u64) -> Result<Self, ExportError> {
        let inner = match format {
            Format::Json | Format::JsonLines | Format::Ocsf | Format::Fhir => Inner::Lines(out),
            Format::Csv => Inner::Csv(out),
            Format::Parquet => Inner::Parquet(Box::new(ParquetEncoder::new(out)?)),
        };
        Ok(Self {
            format,
            inner,
            records,
        })
    }

    /// Writes a record.
    ///
    /// # Errors
    ///
    /// [`ExportError::Write`] if the writer fails; the output is then incomplete.
    pub fn write(&mut self, record: &AuditRecord) -> Result<(), ExportError> {
        match &mut self.inner {
            Inner::Lines(out) => {
                if self.format == Format::Json {
                    out.write_all(if self.records == 0 { b"[\n" } else { b",\n" })?;
                }
                let text = match self.format {
                    Format::Ocsf => serde_json::to_string(&ocsf::event(record)),
                    Format::Fhir => serde_json::to_string(&fhir::audit_event(record)),
                    _ => serde_json::to_string(record),
                };
                let text = escape_json(text.map_err(std::io::Error::from)?);
                out.write_all(text.as_bytes())?;
                if self.format != Format::Json {
                    out.write_all(b"\n")?;
                }
            }
            Inner::Csv(out) => write_row(out, to_row(record))?,
            Inner::Parquet(parquet) => parquet.write(record)?,
        }
        self.records += 1;
        Ok(())
    }

    /// Whether this is a checkpoint from which the export could be [`continued`](Self::continued).
    pub(super) fn is_at_rest(&self) -> bool {
        match &self.inner {
            Inner::Parquet(parquet) => parquet.is_at_rest(),
            _ => self.records.is_multiple_of(REST),
        }
    }

    /// Flushes buffered data, and returns the bytes that would complete the output to a valid file:
    /// empty except for Parquet.
    pub(super) fn rest(&mut self) -> Result<Vec<u8>, ExportError> {
        match &mut self.inner {
            Inner::Lines(out) | Inner::Csv(out) => out.flush()?,
            Inner::Parquet(parquet) => return parquet.footer(),
        }
        Ok(Vec::new())
    }

    pub(super) fn get_ref(&self) -> &W {
        match &self.inner {
            Inner::Lines(out) | Inner::Csv(out) => out,
            Inner::Parquet(parquet) => parquet.get_ref(),
        }
    }

    /// Writes the end of the format, flushes, and returns the writer.
    ///
    /// # Errors
    ///
    /// The same as [`write`](Self::write).
    pub fn finish(self) -> Result<W, ExportError> {
        let mut out = match self.inner {
            Inner::Lines(mut out) => {
                if self.format == Format::Json {
                    out.write_all(if self.records == 0 { b"[]\n" } else { b"\n]\n" })?;
                }
                out
            }
            Inner::Csv(out) => out,
            Inner::Parquet(parquet) => parquet.finish()?,
        };
        out.flush()?;
        Ok(out)
    }
}

impl<W: Write + Send> fmt::Debug for Encoder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Encoder");
        shown.field("format", &self.format);
        shown
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}
