use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Encoder, ExportError, Format};
use crate::record::AuditRecord;

/// What an exported file holds, in `<file>.manifest.json` beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The file's name, without its folder.
    pub file: String,
    /// Its format.
    pub format: Format,
    /// What was asked, such as an [`AuditQuery`](crate::query::AuditQuery).
    pub query: Value,
    /// How many records it holds.
    pub records: u64,
    /// The first of them, if there is one.
    pub first: Option<Mark>,
    /// The last of them.
    pub last: Option<Mark>,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// When it was finished.
    pub finished_at: Timestamp,
    /// The version of this crate.
    pub tool_version: String,
}

/// A record, as a manifest names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mark {
    /// Its id.
    pub id: Uuid,
    /// When it was recorded.
    pub recorded_at: Option<Timestamp>,
}

/// A file in the making. It has its name once it is whole, and can be read by its owner only.
#[derive(Debug)]
pub struct ExportFile {
    path: PathBuf,
    partial: PathBuf,
    encoder: Encoder<Hashed>,
    manifest: Manifest,
}

/// Keeps count of what goes into a file.
#[derive(Debug)]
struct Hashed {
    file: BufWriter<File>,
    bytes: u64,
    digest: Sha256,
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
    /// Begins a file of what `query` asks for.
    ///
    /// # Errors
    ///
    /// [`ExportError::Exists`] when there is one of that name or its manifest's; [`ExportError::File`] when it
    /// cannot be made.
    pub fn create(path: &Path, format: Format, query: Value) -> Result<Self, ExportError> {
        for taken in [path.to_owned(), beside(path, ".manifest.json")] {
            if taken.exists() {
                return Err(ExportError::Exists(taken.display().to_string()));
            }
        }
        let partial = beside(path, ".partial");
        let hashed = Hashed {
            file: BufWriter::new(private(&partial)?),
            bytes: 0,
            digest: Sha256::new(),
        };
        let file = path.file_name().unwrap_or_default();
        Ok(Self {
            encoder: Encoder::new(format, hashed)?,
            manifest: Manifest {
                file: file.to_string_lossy().into_owned(),
                format,
                query,
                records: 0,
                first: None,
                last: None,
                bytes: 0,
                sha256: String::new(),
                finished_at: Timestamp::UNIX_EPOCH,
                tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            path: path.to_owned(),
            partial,
        })
    }

    /// Adds a record.
    ///
    /// # Errors
    ///
    /// [`ExportError::Write`] when the disk does not take it.
    pub fn write(&mut self, record: &AuditRecord) -> Result<(), ExportError> {
        self.encoder.write(record)?;
        let mark = Mark {
            id: record.id,
            recorded_at: record.recorded_at,
        };
        self.manifest.records += 1;
        self.manifest.first.get_or_insert_with(|| mark.clone());
        self.manifest.last = Some(mark);
        Ok(())
    }

    /// Gives the file its name, after its manifest: who finds a file finds what it should be.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn finish(self) -> Result<Manifest, ExportError> {
        let Self {
            path,
            partial,
            encoder,
            mut manifest,
        } = self;
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
        manifest.bytes = bytes;
        manifest.sha256 = hex::encode(digest.finalize());
        manifest.finished_at = Timestamp::now();
        let beside_it = beside(&path, ".manifest.json");
        let mut text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
        text.push(b'\n');
        let mut written = private(&beside_it)?;
        written
            .write_all(&text)
            .and_then(|()| written.sync_all())
            .map_err(|source| failed(&beside_it, source))?;
        std::fs::rename(&partial, &path).map_err(|source| failed(&path, source))?;
        Ok(manifest)
    }
}

/// Whether the file at `path` is what the manifest beside it says; answers the manifest.
///
/// # Errors
///
/// [`ExportError::Damaged`] when it is not; [`ExportError::File`] when one of them cannot be read.
pub fn verify(path: &Path) -> Result<Manifest, ExportError> {
    let beside_it = beside(path, ".manifest.json");
    let text = std::fs::read(&beside_it).map_err(|source| failed(&beside_it, source))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| ExportError::Damaged {
            path: beside_it.display().to_string(),
            what: error.to_string(),
        })?;
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
    Ok(manifest)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn private(path: &Path) -> Result<File, ExportError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: std::io::Error) -> ExportError {
    ExportError::File {
        path: path.display().to_string(),
        source,
    }
}
