use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Encoder, ExportError, Format, Manifest};
use crate::query::{AuditQuery, Cursor, Origin};
use crate::record::AuditRecord;

/// An export being written to a file. The file gets its final name when it is complete, and only
/// its owner can read it.
///
/// Until then, `<file>.partial` contains the data and `<file>.progress.json` the last checkpoint:
/// every 4,096 records, for Parquet every row group. Both are left in place if the export is
/// interrupted.
#[derive(Debug)]
pub struct ExportFile {
    path: PathBuf,
    encoder: Encoder<HashingWriter>,
    manifest: Manifest,
}

/// A checkpoint from which an export can be resumed.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    manifest: Manifest,
    /// The position after the last record.
    cursor: Cursor,
    /// Bytes, in hexadecimal, that complete the data written so far to a valid file.
    footer: String,
}

/// A file writer that counts and hashes the bytes written.
#[derive(Debug)]
struct HashingWriter {
    file: BufWriter<File>,
    bytes: u64,
    digest: Sha256,
}

impl HashingWriter {
    fn new(file: File) -> Self {
        Self {
            file: BufWriter::new(file),
            bytes: 0,
            digest: Sha256::new(),
        }
    }
}

impl Write for HashingWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl ExportFile {
    /// Starts an export of `query` from the log of `origin`. Leftovers of an interrupted export are
    /// overwritten.
    ///
    /// # Errors
    ///
    /// [`ExportError::Exists`] if the file or its manifest exists; [`ExportError::Busy`] if another
    /// process is writing it; [`ExportError::File`] if it cannot be created.
    pub fn create(
        path: &Path,
        format: Format,
        query: &AuditQuery,
        origin: Origin,
    ) -> Result<Self, ExportError> {
        for target in [path.to_owned(), sibling(path, MANIFEST)] {
            if target.exists() {
                return Err(ExportError::Exists(target.display().to_string()));
            }
        }
        let partial = sibling(path, PARTIAL);
        // A running export holds a lock on its partial file.
        let _leftover = match File::open(&partial) {
            Ok(leftover) => Some(locked(leftover, path)?),
            Err(_) => None,
        };
        remove(&sibling(path, PROGRESS))?;
        let writer = HashingWriter::new(locked(create_private(&partial)?, path)?);
        Ok(Self {
            encoder: Encoder::new(format, writer)?,
            manifest: Manifest::new(path, format, query.clone(), origin),
            path: path.to_owned(),
        })
    }

    /// Resumes an interrupted export. Also returns its query and the position at which to continue.
    ///
    /// # Errors
    ///
    /// [`ExportError::NothingToResume`] if there is no checkpoint; [`ExportError::OtherLog`] if the
    /// export is from another log than that of `origin`; [`ExportError::Damaged`] if the partial
    /// file does not match its checkpoint; otherwise the same as [`create`](Self::create).
    pub fn resume(path: &Path, origin: &Origin) -> Result<(Self, AuditQuery, Cursor), ExportError> {
        if path.exists() {
            return Err(ExportError::Exists(path.display().to_string()));
        }
        let Progress {
            mut manifest,
            cursor,
            footer,
        } = Progress::load(path)?;
        if (&manifest.origin.service, &manifest.origin.schema) != (&origin.service, &origin.schema)
        {
            return Err(ExportError::OtherLog {
                path: path.display().to_string(),
                service: manifest.origin.service,
                schema: manifest.origin.schema,
            });
        }
        manifest.continued_by.push(origin.clone());

        let written = reopen(path, manifest.bytes, &footer)?;
        // Copied into a separate file, so that a second interruption leaves the first checkpoint
        // intact.
        let resumed = sibling(path, RESUMED);
        let writer = HashingWriter::new(locked(create_private(&resumed)?, path)?);
        let encoder = Encoder::continued(
            manifest.format,
            writer,
            &written,
            manifest.bytes,
            manifest.records,
        )?;
        let query = manifest.query.clone();
        let mut continued = Self {
            path: path.to_owned(),
            encoder,
            manifest,
        };
        let progress = continued.progress(cursor.clone())?;
        let partial = sibling(path, PARTIAL);
        std::fs::rename(&resumed, &partial).map_err(|source| io_error(&partial, source))?;
        progress.save(path)?;
        Ok((continued, query, cursor))
    }

    /// Sets the manifest's `settled` flag, the value of
    /// [`Export::is_settled`](crate::query::Export::is_settled). A resumed export keeps the value
    /// from its start.
    pub fn set_settled(&mut self, settled: bool) {
        self.manifest.settled = settled;
    }

    /// The number of records written.
    pub fn records(&self) -> u64 {
        self.manifest.records
    }

    /// Writes a record.
    ///
    /// # Errors
    ///
    /// [`ExportError::Write`] or [`ExportError::File`] if writing fails.
    pub fn write(&mut self, record: &AuditRecord) -> Result<(), ExportError> {
        self.encoder.write(record)?;
        self.manifest.add(record);
        if self.encoder.is_at_rest() {
            let cursor = Cursor::at_record(record, &self.manifest.query, false);
            self.progress(cursor)?.save(&self.path)?;
        }
        Ok(())
    }

    fn progress(&mut self, cursor: Cursor) -> Result<Progress, ExportError> {
        let footer = hex::encode(self.encoder.rest()?);
        let writer = self.encoder.get_ref();
        writer.file.get_ref().sync_data()?;
        self.manifest.bytes = writer.bytes;
        Ok(Progress {
            manifest: self.manifest.clone(),
            cursor,
            footer,
        })
    }

    /// Completes the file and gives it its final name. The manifest is written first, so a file
    /// with its final name always has one.
    ///
    /// # Errors
    ///
    /// The same as [`write`](Self::write), and [`ExportError::Exists`] if a file of that name has
    /// appeared since.
    pub fn finish(self) -> Result<Manifest, ExportError> {
        let Self {
            path,
            encoder,
            mut manifest,
        } = self;
        let partial = sibling(&path, PARTIAL);
        let HashingWriter {
            file,
            bytes,
            digest,
        } = encoder.finish()?;
        let file_error = |source| io_error(&partial, source);
        let file = file
            .into_inner()
            .map_err(|error| file_error(error.into_error()))?;
        file.sync_all().map_err(file_error)?;
        if path.exists() {
            return Err(ExportError::Exists(path.display().to_string()));
        }
        manifest.bytes = bytes;
        manifest.sha256 = hex::encode(digest.finalize());
        manifest.finished_at = Timestamp::now();
        let text = manifest.to_text();
        manifest.own_sha256 = hex::encode(Sha256::digest(&text));
        write_private(&sibling(&path, MANIFEST), text.as_bytes())?;
        std::fs::rename(&partial, &path).map_err(|source| io_error(&path, source))?;
        remove(&sibling(&path, PROGRESS))?;
        Ok(manifest)
    }
}

impl Progress {
    /// Reads the checkpoint of the export to `path`.
    fn load(path: &Path) -> Result<Self, ExportError> {
        let progress_path = sibling(path, PROGRESS);
        match std::fs::read(&progress_path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| damaged(&progress_path, error.to_string())),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(ExportError::NothingToResume(path.display().to_string()))
            }
            Err(source) => Err(io_error(&progress_path, source)),
        }
    }

    /// Writes the checkpoint atomically.
    fn save(&self, path: &Path) -> Result<(), ExportError> {
        let text = serde_json::to_vec(self).unwrap_or_default();
        let (name, temporary) = (sibling(path, PROGRESS), sibling(path, PROGRESS_TEMPORARY));
        write_private(&temporary, &text)?;
        std::fs::rename(&temporary, &name).map_err(|source| io_error(&name, source))
    }
}

pub(super) const MANIFEST: &str = ".manifest.json";
const PARTIAL: &str = ".partial";
const RESUMED: &str = ".partial.again";
const PROGRESS: &str = ".progress.json";
const PROGRESS_TEMPORARY: &str = ".progress.json.draft";

pub(super) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Opens the partial file of an interrupted export, truncates it to the checkpoint and completes it
/// with the footer. Returns the file, locked and rewound.
fn reopen(path: &Path, bytes: u64, footer: &str) -> Result<File, ExportError> {
    let footer = hex::decode(footer)
        .map_err(|error| damaged(&sibling(path, PROGRESS), error.to_string()))?;
    let partial = sibling(path, PARTIAL);
    let file_error = |source| io_error(&partial, source);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&partial)
        .map_err(file_error)?;
    let mut file = locked(file, path)?;
    if file.metadata().map_err(file_error)?.len() < bytes {
        let what = "it is shorter than its checkpoint says";
        return Err(damaged(&partial, what.to_owned()));
    }
    file.set_len(bytes).map_err(file_error)?;
    file.seek(SeekFrom::End(0)).map_err(file_error)?;
    file.write_all(&footer).map_err(file_error)?;
    file.rewind().map_err(file_error)?;
    Ok(file)
}

/// Creates a new file that only its owner can read. A file left over from an earlier run is removed
/// first, with any permissions, and even if it is a symbolic link.
fn create_private(path: &Path) -> Result<File, ExportError> {
    remove(path)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|source| io_error(path, source))
}

/// Locks `file`, a part of the export to `path`, against other writers.
fn locked(file: File, path: &Path) -> Result<File, ExportError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ExportError::Busy(path.display().to_string())),
        // Some file systems do not support locks.
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(source)) => Err(io_error(path, source)),
    }
}

fn write_private(path: &Path, text: &[u8]) -> Result<(), ExportError> {
    let mut file = create_private(path)?;
    file.write_all(text)
        .and_then(|()| file.sync_all())
        .map_err(|source| io_error(path, source))
}

fn remove(path: &Path) -> Result<(), ExportError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(io_error(path, source)),
        _ => Ok(()),
    }
}

pub(super) fn io_error(path: &Path, source: std::io::Error) -> ExportError {
    ExportError::File {
        path: path.display().to_string(),
        source,
    }
}

pub(super) fn damaged(path: &Path, what: String) -> ExportError {
    ExportError::Damaged {
        path: path.display().to_string(),
        what,
    }
}
