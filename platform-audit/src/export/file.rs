use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Encoder, ExportError, Format, Manifest};
use crate::query::{AuditQuery, Cursor, Origin};
use crate::record::AuditRecord;

/// A file in the making. It has its name once it is whole, and can be read by its owner only.
///
/// Until then `<file>.partial` holds what was written, and `<file>.progress.json` from where it can be
/// continued: every 4,096 records, of Parquet every row group. Both are left where they are when an
/// export breaks off.
#[derive(Debug)]
pub struct ExportFile {
    path: PathBuf,
    encoder: Encoder<Hashed>,
    manifest: Manifest,
}

/// From where an export can be continued.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    manifest: Manifest,
    /// After the last record.
    cursor: Cursor,
    /// What makes a whole file of what was written, in hexadecimal.
    footer: String,
}

/// Keeps count of what goes into a file.
#[derive(Debug)]
struct Hashed {
    file: BufWriter<File>,
    bytes: u64,
    digest: Sha256,
}

impl Hashed {
    fn new(file: File) -> Self {
        Self {
            file: BufWriter::new(file),
            bytes: 0,
            digest: Sha256::new(),
        }
    }
}

impl Write for Hashed {
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
    /// Begins a file of what `query` asks for, from the log of `origin`. What is left of one that broke
    /// off is overwritten.
    ///
    /// # Errors
    ///
    /// [`ExportError::Exists`] when there is one of that name or its manifest's; [`ExportError::Busy`] when
    /// somebody else is writing it; [`ExportError::File`] when it cannot be made.
    pub fn create(
        path: &Path,
        format: Format,
        query: &AuditQuery,
        origin: Origin,
    ) -> Result<Self, ExportError> {
        for taken in [path.to_owned(), beside(path, MANIFEST)] {
            if taken.exists() {
                return Err(ExportError::Exists(taken.display().to_string()));
            }
        }
        let partial = beside(path, PARTIAL);
        // Whoever is at work on it holds its lock.
        let _left = match File::open(&partial) {
            Ok(left) => Some(locked(left, path)?),
            Err(_) => None,
        };
        remove(&beside(path, PROGRESS))?;
        let hashed = Hashed::new(locked(private(&partial)?, path)?);
        Ok(Self {
            encoder: Encoder::new(format, hashed)?,
            manifest: Manifest::new(path, format, query.clone(), origin),
            path: path.to_owned(),
        })
    }

    /// Continues a file that broke off. Answers also what it asked for, and where to go on.
    ///
    /// # Errors
    ///
    /// [`ExportError::NothingToResume`] when none did, or not so much was written that it could be
    /// continued; [`ExportError::OtherLog`] when it was of another log than that of `origin`;
    /// [`ExportError::Damaged`] when what is left is not what was written; else as
    /// [`create`](Self::create).
    pub fn resume(path: &Path, origin: &Origin) -> Result<(Self, AuditQuery, Cursor), ExportError> {
        if path.exists() {
            return Err(ExportError::Exists(path.display().to_string()));
        }
        let progress_path = beside(path, PROGRESS);
        let text = match std::fs::read(&progress_path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(ExportError::NothingToResume(path.display().to_string()));
            }
            Err(source) => return Err(failed(&progress_path, source)),
        };
        let damaged = |path: &Path, what: &str| ExportError::Damaged {
            path: path.display().to_string(),
            what: what.to_owned(),
        };
        let progress: Progress = serde_json::from_slice(&text)
            .map_err(|error| damaged(&progress_path, &error.to_string()))?;
        let footer = hex::decode(&progress.footer)
            .map_err(|error| damaged(&progress_path, &error.to_string()))?;
        let Progress {
            mut manifest,
            cursor,
            ..
        } = progress;
        if (&manifest.origin.service, &manifest.origin.schema) != (&origin.service, &origin.schema)
        {
            return Err(ExportError::OtherLog {
                path: path.display().to_string(),
                service: manifest.origin.service,
                schema: manifest.origin.schema,
            });
        }
        manifest.continued_by.push(origin.clone());

        let partial = beside(path, PARTIAL);
        let in_file = |source| failed(&partial, source);
        let written = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&partial)
            .map_err(in_file)?;
        let mut written = locked(written, path)?;
        if written.metadata().map_err(in_file)?.len() < manifest.bytes {
            return Err(damaged(&partial, "it is shorter than its progress says"));
        }
        written.set_len(manifest.bytes).map_err(in_file)?;
        written.seek(SeekFrom::End(0)).map_err(in_file)?;
        written.write_all(&footer).map_err(in_file)?;
        written.rewind().map_err(in_file)?;

        // Into a file of its own, so that a second break leaves the first whole.
        let again = beside(path, AGAIN);
        let hashed = Hashed::new(locked(private(&again)?, path)?);
        let encoder = Encoder::continued(
            manifest.format,
            hashed,
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
        std::fs::rename(&again, &partial).map_err(in_file)?;
        progress.keep(path)?;
        Ok((continued, query, cursor))
    }

    /// Says in the manifest whether no more records can come of what was asked for, which the
    /// [export](crate::query::Export::is_settled) knows. Of one that is continued, what was said when it
    /// began holds.
    pub fn settled(&mut self, settled: bool) {
        self.manifest.settled = settled;
    }

    /// How many records it holds.
    pub fn records(&self) -> u64 {
        self.manifest.records
    }

    /// Adds a record.
    ///
    /// # Errors
    ///
    /// [`ExportError::Write`] when the disk does not take it.
    pub fn write(&mut self, record: &AuditRecord) -> Result<(), ExportError> {
        self.encoder.write(record)?;
        self.manifest.add(record);
        if self.encoder.is_at_rest() {
            let cursor = Cursor::beside(record, &self.manifest.query, false);
            self.progress(cursor)?.keep(&self.path)?;
        }
        Ok(())
    }

    fn progress(&mut self, cursor: Cursor) -> Result<Progress, ExportError> {
        let footer = hex::encode(self.encoder.rest()?);
        let hashed = self.encoder.get_ref();
        hashed.file.get_ref().sync_data()?;
        self.manifest.bytes = hashed.bytes;
        Ok(Progress {
            manifest: self.manifest.clone(),
            cursor,
            footer,
        })
    }

    /// Gives the file its name, after its manifest: who finds a file finds what it should be.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write), and [`ExportError::Exists`] when there is a file of that name now.
    pub fn finish(self) -> Result<Manifest, ExportError> {
        let Self {
            path,
            encoder,
            mut manifest,
        } = self;
        let partial = beside(&path, PARTIAL);
        let Hashed {
            file,
            bytes,
            digest,
        } = encoder.finish()?;
        let in_file = |source| failed(&partial, source);
        let file = file
            .into_inner()
            .map_err(|error| in_file(error.into_error()))?;
        file.sync_all().map_err(in_file)?;
        if path.exists() {
            return Err(ExportError::Exists(path.display().to_string()));
        }
        manifest.bytes = bytes;
        manifest.sha256 = hex::encode(digest.finalize());
        manifest.finished_at = Timestamp::now();
        let text = manifest.to_text();
        manifest.own_sha256 = hex::encode(Sha256::digest(&text));
        keep(&beside(&path, MANIFEST), text.as_bytes())?;
        std::fs::rename(&partial, &path).map_err(|source| failed(&path, source))?;
        remove(&beside(&path, PROGRESS))?;
        Ok(manifest)
    }
}

impl Progress {
    /// Beside the file, whole or not at all.
    fn keep(&self, path: &Path) -> Result<(), ExportError> {
        let text = serde_json::to_vec(self).unwrap_or_default();
        let (name, draft) = (beside(path, PROGRESS), beside(path, DRAFT));
        keep(&draft, &text)?;
        std::fs::rename(&draft, &name).map_err(|source| failed(&name, source))
    }
}

pub(super) const MANIFEST: &str = ".manifest.json";
const PARTIAL: &str = ".partial";
const AGAIN: &str = ".partial.again";
const PROGRESS: &str = ".progress.json";
const DRAFT: &str = ".progress.json.draft";

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A new file in the place of one that may be left: whoever left it, whether it was a link and who might
/// read it.
fn private(path: &Path) -> Result<File, ExportError> {
    remove(path)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|source| failed(path, source))
}

/// `file`, a part of the export to `path`, which nobody else writes from now on.
fn locked(file: File, path: &Path) -> Result<File, ExportError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ExportError::Busy(path.display().to_string())),
        // Some file systems have no locks.
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(source)) => Err(failed(path, source)),
    }
}

fn keep(path: &Path, text: &[u8]) -> Result<(), ExportError> {
    let mut file = private(path)?;
    file.write_all(text)
        .and_then(|()| file.sync_all())
        .map_err(|source| failed(path, source))
}

fn remove(path: &Path) -> Result<(), ExportError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(failed(path, source)),
        _ => Ok(()),
    }
}

pub(super) fn failed(path: &Path, source: std::io::Error) -> ExportError {
    ExportError::File {
        path: path.display().to_string(),
        source,
    }
}
