//! Why sealing failed.

use std::path::PathBuf;

use thiserror::Error;

use crate::error::kind;
use crate::store::{AuditDatabase, MalformedRow, Store};

/// Why records could not be sealed, or a checkpoint could not be published.
///
/// Nothing is lost: records are sealed once the cause is removed. No message contains personal
/// data.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SealError {
    /// The database could not be read or written.
    #[error("the sealed log could not be accessed ({})", kind(.0))]
    Store(#[from] sqlx::Error),
    /// A row could not be decoded.
    #[error("a row of the sealed log could not be decoded: {0}")]
    Malformed(String),
    /// The tree does not match the entries and tiles in the database, so sealing further would
    /// continue a damaged log.
    #[error(
        "the sealed log in the database is damaged, so nothing more is sealed: run platform-audit verify, which names the damage"
    )]
    Damaged,
    /// A published checkpoint is newer than the database, so the database was restored or its end
    /// was removed.
    #[error(
        "{place} contains a checkpoint of {published} entries, but the database has {size}: it was restored from a backup, or its end was removed; nothing is sealed until `platform-audit log resume` acknowledges that"
    )]
    Behind {
        /// Where the checkpoint is.
        place: String,
        /// The size of the published checkpoint.
        published: u64,
        /// The number of entries in the database.
        size: u64,
    },
    /// A published checkpoint contradicts the database: two histories exist.
    #[error(
        "{place} contains a checkpoint of {size} entries with another root than the database's: the history was rewritten, and nothing more is published; run platform-audit verify"
    )]
    Fork {
        /// Where the checkpoint is.
        place: String,
        /// The size of the checkpoint.
        size: u64,
    },
    /// A key is missing or malformed.
    #[error("{0}")]
    Key(String),
    /// A checkpoint could not be signed.
    #[error("the checkpoint could not be signed: {0}")]
    Sign(String),
    /// A witness did not cosign a checkpoint.
    #[error("{url} did not cosign the checkpoint: {reason}")]
    Witness {
        /// Where the request was sent.
        url: String,
        /// What it responded, or why it did not respond.
        reason: String,
    },
    /// A sink did not accept a checkpoint.
    #[error("the checkpoint could not be published: {0}")]
    Sink(String),
    /// The service's name or schema is invalid, or the database cannot be used.
    #[error(transparent)]
    Audit(#[from] crate::Error),
    /// A text is not the proof of a record.
    #[error("this is not the proof of a record: {0}")]
    NotAProof(String),
    /// A proof does not prove its record.
    #[error("not proven: {0}")]
    NotProven(String),
    /// The record or the log does not contain what was asked for.
    #[error("{0}")]
    NotFound(String),
    /// A file could not be read or written.
    #[error("{path} could not be {action}")]
    File {
        /// The file.
        path: PathBuf,
        /// `read`, `written` or `locked`.
        action: &'static str,
        /// The cause.
        source: std::io::Error,
    },
}

impl SealError {
    /// Names the schema, if the tables do not exist or may not be read.
    pub(crate) fn in_store<DB: AuditDatabase>(self, store: &Store<DB>) -> Self {
        match self {
            Self::Store(source) if store.dialect().sql().is_not_readable(&source) => {
                let schema = store.name().to_owned();
                Self::Audit(crate::Error::NotReadable { schema, source })
            }
            other => other,
        }
    }

    pub(crate) fn malformed(error: impl std::fmt::Display) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<MalformedRow> for SealError {
    fn from(error: MalformedRow) -> Self {
        Self::malformed(error)
    }
}
