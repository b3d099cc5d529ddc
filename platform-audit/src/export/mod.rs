//! Exports records to files: JSON, JSON Lines, CSV, Parquet, OCSF events and FHIR AuditEvents, each
//! with a manifest.
//!
//! Feature `export`.
//!
//! [`Encoder`] writes records one by one, in constant memory. [`ExportFile`] writes them to a file
//! that appears under its final name only when complete, beside a [`Manifest`] with the query, the
//! number of records and the file's SHA-256. An interrupted export can be resumed
//! ([`ExportFile::resume`]), and [`verify`] compares a file with its manifest.
//!
//! ```
//! # #[cfg(feature = "postgres")]
//! # async fn example(pool: sqlx::PgPool) -> Result<(), platform_audit::export::ExportError> {
//! use platform_audit::Actor;
//! use platform_audit::export::{ExportError, ExportFile, Format};
//! use platform_audit::query::{AuditQuery, AuditReader};
//!
//! let reader = AuditReader::new(pool, "accounting")?.read_as(Actor::user("grace"));
//! let query = AuditQuery::new().action("entry.*");
//! let path = std::path::Path::new("entries.csv");
//! let mut file = ExportFile::create(path, Format::Csv, &query, reader.origin())?;
//! reader.for_each::<ExportError>(&query, |record| file.write(&record)).await?;
//! let manifest = file.finish()?;
//! println!("{} records, SHA-256 {}", manifest.records, manifest.sha256);
//! # Ok(())
//! # }
//! ```

mod activity;
mod contents;
mod csv;
mod encoder;
mod fhir;
mod file;
mod format;
mod manifest;
mod ocsf;
mod parquet;
mod sparse;

use thiserror::Error;

pub use csv::{from_row, to_row};
pub use encoder::Encoder;
pub use file::ExportFile;
pub use format::Format;
pub use manifest::{Manifest, RecordRef, verify};

/// The error type of exports.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The records could not be read.
    #[error(transparent)]
    Read(#[from] crate::Error),
    /// A file could not be written or read.
    #[error("`{path}` could not be written or read: {source}")]
    File {
        /// The file.
        path: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The writer failed.
    #[error("the records could not be written: {0}")]
    Write(#[from] std::io::Error),
    /// The file exists already.
    #[error("`{0}` already exists: choose another file, or move it away")]
    Exists(String),
    /// Another process is writing the same file.
    #[error(
        "an export to `{0}` is already running: wait until it has ended, or choose another file"
    )]
    Busy(String),
    /// There is no interrupted export to resume.
    #[error("there is no interrupted export to `{0}` that can be resumed: start it again")]
    NothingToResume(String),
    /// The interrupted export is from another log.
    #[error(
        "the interrupted export to `{path}` is from the service {service} in the audit schema {schema}: use these, or choose another file"
    )]
    OtherLog {
        /// The file.
        path: String,
        /// The service whose records the interrupted export contains.
        service: String,
        /// The audit schema of that service.
        schema: String,
    },
    /// The name is not a format.
    #[error("`{0}` is not a format: use json, jsonl, csv, parquet, ocsf or fhir")]
    UnknownFormat(String),
    /// The file does not match its manifest or checkpoint.
    #[error("`{path}` does not match its manifest: {what}")]
    Damaged {
        /// The file, or its manifest.
        path: String,
        /// How the file differs.
        what: String,
    },
}
