use std::fs::File;
use std::io::Read;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::file::{MANIFEST, beside, failed};
use super::recount::recount;
use super::{ExportError, Format};
use crate::query::{AuditQuery, Origin};
use crate::record::AuditRecord;
use crate::text::escape_json;

/// What an exported file holds, in `<file>.manifest.json` beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The file's name, without its folder.
    pub file: String,
    /// Its format.
    pub format: Format,
    /// Whose log it is from, and who exported it.
    pub origin: Origin,
    /// Who continued it after it broke off, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub continued_by: Vec<Origin>,
    /// What was asked.
    pub query: AuditQuery,
    /// Whether the period was over when it began, and so was each transaction that was at work in it:
    /// then no record can come any more that should be here.
    #[serde(default)]
    pub settled: bool,
    /// How many records it holds.
    pub records: u64,
    /// The first of them, if there is one.
    pub first: Option<RecordRef>,
    /// The last of them.
    pub last: Option<RecordRef>,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// When it was finished.
    pub finished_at: Timestamp,
    /// The version of this crate.
    pub tool_version: String,
    /// SHA-256 of the manifest's own file, in hexadecimal, which it does not hold itself. The record of
    /// the export keeps it ([`Export::manifest`](crate::query::Export::manifest)).
    #[serde(skip)]
    pub own_sha256: String,
}

/// A record, as a manifest names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecordRef {
    /// Its id.
    pub id: Uuid,
    /// When it was recorded.
    pub recorded_at: Option<Timestamp>,
}

impl Manifest {
    /// Of a file that holds nothing yet.
    pub(super) fn new(path: &Path, format: Format, query: AuditQuery, origin: Origin) -> Self {
        let file = path.file_name().unwrap_or_default();
        Self {
            file: file.to_string_lossy().into_owned(),
            format,
            origin,
            continued_by: Vec::new(),
            query,
            settled: false,
            records: 0,
            first: None,
            last: None,
            bytes: 0,
            sha256: String::new(),
            finished_at: Timestamp::UNIX_EPOCH,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            own_sha256: String::new(),
        }
    }

    /// Its file.
    pub(super) fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        escape_json(text)
    }

    pub(super) fn add(&mut self, record: &AuditRecord) {
        let mark = RecordRef {
            id: record.id,
            recorded_at: record.recorded_at,
        };
        self.records += 1;
        self.first.get_or_insert_with(|| mark.clone());
        self.last = Some(mark);
    }
}

/// Whether the file at `path` is what the manifest beside it says; answers the manifest. Compared are
/// the size, the SHA-256, how many records there are, and the first and the last of them.
///
/// Whoever can change the file can change the manifest with it. So compare
/// [`own_sha256`](Manifest::own_sha256) with what the record of the export keeps, which
/// [`Reading::exported`](crate::query::Reading::exported) finds.
///
/// # Errors
///
/// [`ExportError::Damaged`] when it is not; [`ExportError::File`] when one of them cannot be read.
pub fn verify(path: &Path) -> Result<Manifest, ExportError> {
    let beside_it = beside(path, MANIFEST);
    let text = std::fs::read(&beside_it).map_err(|source| failed(&beside_it, source))?;
    let mut manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| ExportError::Damaged {
            path: beside_it.display().to_string(),
            what: error.to_string(),
        })?;
    manifest.own_sha256 = hex::encode(Sha256::digest(&text));
    let mut file = File::open(path).map_err(|source| failed(path, source))?;
    let mut digest = Sha256::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(|source| failed(path, source))?;
        if read == 0 {
            break;
        }
        digest.update(&buffer[..read]);
        bytes += read as u64;
    }
    let damaged = |what: String| ExportError::Damaged {
        path: path.display().to_string(),
        what,
    };
    if bytes != manifest.bytes {
        return Err(damaged(format!(
            "{bytes} bytes instead of {}",
            manifest.bytes
        )));
    }
    let found = hex::encode(digest.finalize());
    if found != manifest.sha256 {
        return Err(damaged(format!(
            "SHA-256 {found} instead of {}",
            manifest.sha256
        )));
    }
    let held = recount(path, manifest.format)?;
    if held.records != manifest.records {
        return Err(damaged(format!(
            "{} records instead of {}",
            held.records, manifest.records
        )));
    }
    let id = |mark: &Option<RecordRef>| mark.as_ref().map(|mark| mark.id);
    for (place, found, said) in [
        ("first", held.first, id(&manifest.first)),
        ("last", held.last, id(&manifest.last)),
    ] {
        if found != said {
            let name = |id: Option<Uuid>| id.map_or("none".to_owned(), |id| id.to_string());
            return Err(damaged(format!(
                "the {place} record is {} instead of {}",
                name(found),
                name(said)
            )));
        }
    }
    Ok(manifest)
}
