//! The spool's directory, which is locked by one process at a time.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::spool::SignalSpool;
use crate::error::Error;
use crate::signal::Signal;

/// How long to wait for a lock whose owner is shutting down: a previous process, or the SDK's
/// threads in this process, which are not joined.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// A directory that stores telemetry until the endpoint accepts it; for
/// [`TelemetryBuilder::spool`](crate::TelemetryBuilder::spool).
///
/// Each request is first written to a file, and the files are sent in order, oldest first. So a
/// slow or unavailable endpoint blocks nothing, and unsent requests outlive the process. Each
/// request is synced to disk, so a power failure leaves only whole requests; a disk that needs 0.1
/// s to sync keeps up with some 5,000 spans a second. If the disk is full or not writable, requests
/// are sent directly. The files contain telemetry, and only the process's user can read them.
///
/// A request is kept on timeouts, 408, 425, 429, 5xx and redirects, and on 401, 403 and 404, as a
/// wrong token or dataset can be corrected. On any other error the request itself is invalid:
/// it is dropped and counted, as is a request that gets the response 500 three times while the
/// endpoint accepts later requests.
#[derive(Clone, Debug)]
pub struct Spool {
    directory: PathBuf,
    max_bytes: u64,
    max_age: Duration,
}

impl Spool {
    /// A spool in `directory`, which is created if it is missing. No other process can use it.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            max_bytes: 64 * 1024 * 1024,
            max_age: Duration::from_secs(24 * 60 * 60),
        }
    }

    /// The maximum size for each signal, in bytes; by default 64 MiB. A request occupies whole
    /// blocks of 4 KiB. Beyond this size, the oldest requests are dropped and counted.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The maximum age of a request; by default 24 hours. Older requests are dropped and counted.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Creates and locks the directory.
    pub(crate) fn open(self) -> Result<OpenSpool, Error> {
        let directory = self.directory.as_path();
        let invalid = |problem: &str, remedy| {
            let problem = format!("at {} {problem}", directory.display());
            Error::setting("spool", problem, remedy)
        };
        let unusable = |error: io::Error| unusable(directory, &error);
        create_private(directory).map_err(unusable)?;
        #[cfg(unix)]
        if !is_private(directory).map_err(unusable)? {
            return Err(invalid(
                "can be read by other users",
                "remove their permissions with chmod 700, or use another directory",
            ));
        }
        #[cfg(unix)]
        if !is_own(directory).map_err(unusable)? {
            return Err(invalid(
                "belongs to another user, who can read it",
                "give it to the process's user with chown, or use another directory",
            ));
        }
        let lock = File::create(directory.join("lock")).map_err(unusable)?;
        let started = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_TIMEOUT => {
                    thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(invalid(
                        "is in use by another process",
                        "give each process its own directory",
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
        Ok(OpenSpool {
            settings: self,
            lock: Arc::new(lock),
        })
    }
}

/// A spool that this process has locked.
#[derive(Clone, Debug)]
pub(crate) struct OpenSpool {
    settings: Spool,
    lock: Arc<File>,
}

impl OpenSpool {
    pub(super) fn for_signal(&self, signal: Signal) -> Result<SignalSpool, Error> {
        let Spool {
            directory,
            max_bytes,
            max_age,
        } = &self.settings;
        let directory = directory.join(signal.path());
        create_private(&directory).map_err(|error| unusable(&directory, &error))?;
        let lock = Arc::clone(&self.lock);
        Ok(SignalSpool::open(directory, *max_bytes, *max_age, lock))
    }
}

fn unusable(directory: &Path, error: &io::Error) -> Error {
    Error::setting(
        "spool",
        format!("at {} cannot be used ({error})", directory.display()),
        "use a directory that the process can create or write to",
    )
}

fn create_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Whether only its owner can use the directory.
#[cfg(unix)]
fn is_private(directory: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::metadata(directory)?.permissions().mode() & 0o077 == 0)
}

/// Whether the directory belongs to the process's user.
#[cfg(unix)]
fn is_own(directory: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    // A new file has the process's user as its owner.
    let probe = directory.join(format!("probe-{:016x}", fastrand::u64(..)));
    let created = File::create_new(&probe)?.metadata();
    fs::remove_file(&probe)?;
    Ok(created?.uid() == fs::metadata(directory)?.uid())
}
