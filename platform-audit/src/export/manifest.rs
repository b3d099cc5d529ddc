use std::fs::File;
use std::io::Read;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::contents::count_records;
use super::file::{MANIFEST, damaged, io_error, sibling};
use super::{ExportError, Format};
use crate::query::{AuditQuery, Origin};
use crate::record::AuditRecord;
use crate::text::escape_json;

/// Describes an exported file; stored beside it as `<file>.manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The file's name, without its directory.
    pub file: String,
    /// The file's format.
    pub format: Format,
    /// The exported log, and the actor who exported it.
    pub origin: Origin,
    /// The actors who resumed the export after interruptions, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub continued_by: Vec<Origin>,
    /// The exported query.
    pub query: AuditQuery,
    /// Whether the result was final at the start: the period had ended, and so had all transactions
    /// that were open in it. No matching record can appear later.
    #[serde(default)]
    pub settled: bool,
    /// The number of records.
    pub records: u64,
    /// The first record, if there is one.
    pub first: Option<RecordRef>,
    /// The last record, if there is one.
    pub last: Option<RecordRef>,
    /// The file's size in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// When the export finished.
    pub finished_at: Timestamp,
    /// The version of this crate.
    pub tool_version: String,
    /// SHA-256 of the manifest file itself, in hexadecimal; not part of the file. It is stored in
    /// the export's final record
    /// ([`Export::set_manifest_sha256`](crate::query::Export::set_manifest_sha256)).
    #[serde(skip)]
    pub own_sha256: String,
}

/// A reference to a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecordRef {
    /// The record's id.
    pub id: Uuid,
    /// When it was recorded.
    pub recorded_at: Option<Timestamp>,
}

impl Manifest {
    /// The manifest of an empty file.
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

    /// The contents of the manifest file.
    pub(super) fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        escape_json(text)
    }

    pub(super) fn add(&mut self, record: &AuditRecord) {
        let reference = RecordRef {
            id: record.id,
            recorded_at: record.recorded_at,
        };
        self.records += 1;
        self.first.get_or_insert_with(|| reference.clone());
        self.last = Some(reference);
    }
}

/// Verifies the file at `path` against the manifest beside it, and returns the manifest. Compares
/// the size, the SHA-256, the number of records, and the first and last record.
///
/// Anyone who can change the file can also change the manifest. To detect that, look up
/// [`own_sha256`](Manifest::own_sha256) with
/// [`Reading::find_export`](crate::query::Reading::find_export).
///
/// # Errors
///
/// [`ExportError::Damaged`] if they differ; [`ExportError::File`] if one of them cannot be read.
pub fn verify(path: &Path) -> Result<Manifest, ExportError> {
    let manifest_path = sibling(path, MANIFEST);
    let text = std::fs::read(&manifest_path).map_err(|source| io_error(&manifest_path, source))?;
    let mut manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| damaged(&manifest_path, error.to_string()))?;
    manifest.own_sha256 = hex::encode(Sha256::digest(&text));
    let (bytes, sha256) = size_and_digest(path).map_err(|source| io_error(path, source))?;
    let damaged = |what| damaged(path, what);
    if bytes != manifest.bytes {
        return Err(damaged(format!(
            "{bytes} bytes instead of {}",
            manifest.bytes
        )));
    }
    if sha256 != manifest.sha256 {
        return Err(damaged(format!(
            "SHA-256 {sha256} instead of {}",
            manifest.sha256
        )));
    }
    let contents = count_records(path, manifest.format)?;
    if contents.records != manifest.records {
        return Err(damaged(format!(
            "{} records instead of {}",
            contents.records, manifest.records
        )));
    }
    let id = |reference: &Option<RecordRef>| reference.as_ref().map(|reference| reference.id);
    for (which, found, expected) in [
        ("first", contents.first, id(&manifest.first)),
        ("last", contents.last, id(&manifest.last)),
    ] {
        if found != expected {
            let name = |id: Option<Uuid>| id.map_or("none".to_owned(), |id| id.to_string());
            return Err(damaged(format!(
                "the {which} record is {} instead of {}",
                name(found),
                name(expected)
            )));
        }
    }
    Ok(manifest)
}

/// The size of a file in bytes, and its SHA-256 in hexadecimal.
fn size_and_digest(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hex::encode(digest.finalize())));
        }
        digest.update(&buffer[..read]);
        bytes += read as u64;
    }
}
