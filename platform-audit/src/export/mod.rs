//! Records in files that others can read and check: JSON, JSON Lines, CSV, Parquet, OCSF events and FHIR
//! AuditEvents, each with a manifest.
//!
//! Feature `export`.
//!
//! [`Encoder`] writes records one by one, in constant memory; [`ExportFile`] puts them into a file that
//! is there whole or not at all, beside a [`Manifest`] that says what was asked, what came, and the SHA-256
//! of it. What broke off can be continued ([`ExportFile::resume`]).

mod activity;
mod csv;
mod encoder;
mod fhir;
mod file;
mod format;
mod manifest;
mod ocsf;
mod parquet;
mod recount;
mod sparse;

use thiserror::Error;

pub use csv::{from_row, to_row};
pub use encoder::Encoder;
pub use file::ExportFile;
pub use format::Format;
pub use manifest::{Manifest, RecordRef, verify};

/// Why an export did not succeed.
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
        /// What the system said.
        source: std::io::Error,
    },
    /// What is written to could not take it.
    #[error("the records could not be written: {0}")]
    Write(#[from] std::io::Error),
    /// There is a file of that name already.
    #[error("`{0}` is there already: name another file, or move it away")]
    Exists(String),
    /// Somebody else is writing it.
    #[error("an export to `{0}` is under way: wait until it has ended, or name another file")]
    Busy(String),
    /// There is nothing that could be continued.
    #[error("no export to `{0}` broke off that could be continued: begin it again")]
    NothingToResume(String),
    /// What broke off was the export of another log.
    #[error(
        "the export to `{path}` that broke off is of the service {service} in the audit schema {schema}: name these, or another file"
    )]
    OtherLog {
        /// The file.
        path: String,
        /// The service whose records it holds.
        service: String,
        /// Its audit schema.
        schema: String,
    },
    /// A word that is no format.
    #[error("`{0}` is no format: write json, jsonl, csv, parquet, ocsf or fhir")]
    UnknownFormat(String),
    /// A file is not what its manifest says.
    #[error("`{path}` is not what its manifest says: {what}")]
    Damaged {
        /// The file, or its manifest.
        path: String,
        /// In what it differs.
        what: String,
    },
}
