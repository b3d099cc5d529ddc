//! Telemetry on disk, while an endpoint does not take it.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Write as _};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::Signal;
use crate::error::Error;

/// How long the directory may still be held by whoever has just ended: the SDK's threads, which
/// nobody waits for, or an earlier process.
const LETTING_GO: Duration = Duration::from_secs(1);

/// A directory that keeps what an endpoint does not take, until it does; for
/// [`TelemetryBuilder::spool`](crate::TelemetryBuilder::spool).
///
/// It keeps it through time-outs, through 408, 425, 429, all of 5xx and redirects, and through 401, 403
/// and 404, as a wrong token or dataset can be put right. What is answered with another error is wrong in
/// itself: it is dropped and counted; so is what the endpoint answers with 500 three times while it takes
/// what came after.
///
/// What is to be sent goes there first, and from there to the endpoint, the oldest first: so an
/// endpoint that is slow or away keeps nobody waiting, and what it did not take outlives the
/// process. Each request is synced to the disk, so that what a power failure leaves is whole: a disk
/// that takes 0.1 s for that keeps up with some 5,000 spans a second. Where it is full or cannot be
/// written, they are sent without. It holds what telemetry holds, in files that only the process's user
/// can read.
#[derive(Clone, Debug)]
pub struct Spool {
    directory: PathBuf,
    max_bytes: u64,
    max_age: Duration,
}

impl Spool {
    /// In `directory`, which is made if it is missing, and which is this process's alone.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            max_bytes: 64 * 1024 * 1024,
            max_age: Duration::from_secs(24 * 60 * 60),
        }
    }

    /// How many bytes it may hold of each signal, of which each request takes whole blocks of 4 KiB; by
    /// default 64 MiB. Beyond, the oldest are dropped, and counted.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// How old what it holds may be; by default 24 hours. What is older is dropped, and counted.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Takes the directory for this process.
    pub(crate) fn open(self) -> Result<OpenSpool, Error> {
        let directory = self.directory.clone();
        let refused = |problem: String, remedy| Error::Setting {
            setting: "spool",
            problem: format!("at {} {problem}", directory.display()),
            remedy,
        };
        let unusable = |error: io::Error| {
            refused(
                format!("cannot be used ({error})"),
                "name a directory that the process may make or write to",
            )
        };
        make_private(&self.directory).map_err(unusable)?;
        if !is_private(&self.directory).map_err(unusable)? {
            return Err(refused(
                "can be read by others".to_owned(),
                "take their rights away with chmod 700, or name another directory",
            ));
        }
        if !is_own(&self.directory).map_err(unusable)? {
            return Err(refused(
                "belongs to another user, who can read it".to_owned(),
                "give it to the process's user with chown, or name another directory",
            ));
        }
        let lock = File::create(self.directory.join("lock")).map_err(unusable)?;
        let began = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if began.elapsed() < LETTING_GO => {
                    thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(refused(
                        "is used by another process".to_owned(),
                        "give each process a directory of its own",
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
        Ok(OpenSpool {
            settings: self,
            _lock: Arc::new(lock),
        })
    }
}

/// A directory that this process has taken.
#[derive(Clone, Debug)]
pub(crate) struct OpenSpool {
    settings: Spool,
    _lock: Arc<File>,
}

impl OpenSpool {
    pub(super) fn of(&self, signal: Signal) -> Result<SignalSpool, Error> {
        let directory = self.settings.directory.join(signal.to_string());
        make_private(&directory).map_err(|error| Error::Setting {
            setting: "spool",
            problem: format!("at {} cannot be used ({error})", directory.display()),
            remedy: "name a directory that the process may make or write to",
        })?;
        Ok(SignalSpool {
            held: Mutex::new(Held::of(&directory)),
            directory,
            max_bytes: self.settings.max_bytes,
            max_age: self.settings.max_age,
            next: AtomicU64::new(0),
            _lock: Arc::clone(&self._lock),
        })
    }
}

/// The requests of one signal, a file each: `<nanoseconds since 1970>-<number>-<items>`, and
/// `.gz` if it is compressed.
#[derive(Debug)]
pub(super) struct SignalSpool {
    directory: PathBuf,
    max_bytes: u64,
    max_age: Duration,
    next: AtomicU64,
    held: Mutex<Held>,
    _lock: Arc<File>,
}

/// What is in the directory, which is listed once: nobody else has it.
#[derive(Debug, Default)]
struct Held {
    /// By the names of their files, and so the oldest first.
    requests: BTreeMap<String, Kept>,
    bytes: u64,
    /// The request that is being sent, which is not to be dropped meanwhile.
    claimed: Option<String>,
}

/// What a file takes on most disks, at least.
const BLOCK: u64 = 4096;

/// How requests are compressed, and how the names of their files end.
const ENCODINGS: [(&str, &str); 2] = [("gzip", ".gz"), ("zstd", ".zst")];

/// A request that is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    name: String,
    at: Duration,
    pub(super) items: usize,
    /// The value of `Content-Encoding`.
    pub(super) encoding: Option<&'static str>,
    bytes: u64,
    /// How often one behind it was taken while it was not.
    passed: u32,
}

impl SignalSpool {
    /// How many items it holds.
    pub(super) fn items(&self) -> usize {
        self.held().requests.values().map(|kept| kept.items).sum()
    }

    /// Keeps a request. Answers how many items had to go for it.
    pub(super) fn put(
        &self,
        items: usize,
        encoding: Option<&str>,
        body: &[u8],
    ) -> io::Result<usize> {
        let bytes = blocks(u64::try_from(body.len()).unwrap_or(u64::MAX));
        if bytes > self.max_bytes {
            return Err(io::Error::other("it is larger than the spool may be"));
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let at = since_1970();
        let known = ENCODINGS.iter().find(|(name, _)| Some(*name) == encoding);
        let suffix = known.map_or("", |(_, suffix)| suffix);
        let name = format!("{:020}-{number:010}-{items}{suffix}", at.as_nanos());
        // Whole or not at all. Nothing has to go for what does not get there.
        let partial = self.directory.join("partial");
        let mut file = File::create(&partial)?;
        file.write_all(body)?;
        // Else a power failure could leave the name and nothing in it.
        file.sync_data()?;
        drop(file);
        let mut held = self.held();
        fs::rename(partial, self.directory.join(&name))?;
        let mut dropped = 0;
        while held.bytes.saturating_add(bytes) > self.max_bytes
            && let Some(oldest) = held.oldest_unclaimed()
        {
            dropped += oldest.items;
            self.discard(&mut held, &oldest);
        }
        held.add(Kept {
            name,
            at,
            items,
            encoding: known.map(|(name, _)| *name),
            bytes,
            passed: 0,
        });
        Ok(dropped)
    }

    /// The oldest request that is not too old, of those behind `passed`, and how many items were,
    /// which are gone. It stays until it is [removed](Self::remove) or [released](Self::release).
    pub(super) fn oldest(&self, passed: Option<&Kept>) -> (Option<(Kept, Vec<u8>)>, usize) {
        let mut held = self.held();
        let mut dropped = 0;
        let now = since_1970();
        let mut next = held.after(match passed {
            Some(passed) => Bound::Excluded(&passed.name),
            None => Bound::Unbounded,
        });
        while let Some(kept) = next {
            if now.saturating_sub(kept.at) > self.max_age {
                dropped += kept.items;
                self.discard(&mut held, &kept);
            } else {
                match fs::read(self.directory.join(&kept.name)) {
                    Ok(body) => {
                        held.claimed = Some(kept.name.clone());
                        return (Some((kept, body)), dropped);
                    }
                    // Somebody took it away.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        dropped += kept.items;
                        held.forget(&kept);
                    }
                    // It may be read later, where files or memory are short, until it is too old.
                    Err(_) => {}
                }
            }
            next = held.after(Bound::Excluded(&kept.name));
        }
        (None, dropped)
    }

    /// Has done with a request. If its file cannot be removed, it is sent again only by the next
    /// process.
    pub(super) fn remove(&self, kept: &Kept) {
        self.discard(&mut self.held(), kept);
    }

    /// One behind `kept` was taken while it was not. If that was so `most` times, it is removed;
    /// answers how many items had to go.
    pub(super) fn passed(&self, kept: &Kept, most: u32) -> usize {
        let mut held = self.held();
        // It may have had to make room meanwhile.
        let Some(kept) = held.requests.get_mut(&kept.name) else {
            return 0;
        };
        kept.passed += 1;
        if kept.passed < most {
            return 0;
        }
        let kept = kept.clone();
        self.discard(&mut held, &kept);
        kept.items
    }

    fn discard(&self, held: &mut Held, kept: &Kept) {
        held.forget(kept);
        let path = self.directory.join(&kept.name);
        let Err(error) = fs::remove_file(&path) else {
            return;
        };
        if error.kind() != io::ErrorKind::NotFound {
            tracing::warn!(target: "platform_observability::export", "{} was sent or dropped, but cannot be removed from the spool ({error}): remove it, or the next process sends it again", path.display());
        }
    }

    /// The request that was being sent is kept on.
    pub(super) fn release(&self) {
        self.held().claimed = None;
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn of(directory: &Path) -> Self {
        let mut held = Self::default();
        let entries = fs::read_dir(directory).into_iter().flatten();
        for kept in entries.flatten().filter_map(|it| Kept::of(&it.path())) {
            held.add(kept);
        }
        held
    }

    fn add(&mut self, kept: Kept) {
        self.bytes += kept.bytes;
        self.requests.insert(kept.name.clone(), kept);
    }

    fn forget(&mut self, kept: &Kept) {
        if self.requests.remove(&kept.name).is_some() {
            self.bytes -= kept.bytes;
        }
    }

    fn after(&self, name: Bound<&str>) -> Option<Kept> {
        let mut rest = self.requests.range::<str, _>((name, Bound::Unbounded));
        rest.next().map(|(_, kept)| kept.clone())
    }

    fn oldest_unclaimed(&self) -> Option<Kept> {
        let mut unclaimed = self.requests.values();
        unclaimed
            .find(|kept| self.claimed.as_ref() != Some(&kept.name))
            .cloned()
    }
}

fn blocks(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX)
}

impl Kept {
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let encoded = ENCODINGS
            .iter()
            .find_map(|(encoding, suffix)| Some((name.strip_suffix(suffix)?, Some(*encoding))));
        let (bare, encoding) = encoded.unwrap_or((name, None));
        // Whatever else is there is not the spool's.
        let [at, number, items] = bare.split('-').collect::<Vec<_>>().try_into().ok()?;
        let digits = |text: &str| text.bytes().all(|it| it.is_ascii_digit());
        if at.len() != 20 || number.len() < 10 || ![at, number, items].into_iter().all(digits) {
            return None;
        }
        let metadata = fs::symlink_metadata(path).ok().filter(Metadata::is_file)?;
        Some(Self {
            at: Duration::from_nanos(at.parse().ok()?),
            items: items.parse().ok()?,
            encoding,
            bytes: blocks(metadata.len()),
            passed: 0,
            name: name.to_owned(),
        })
    }
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn is_private(directory: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        Ok(fs::metadata(directory)?.permissions().mode() & 0o077 == 0)
    }
    #[cfg(not(unix))]
    {
        fs::metadata(directory).map(|_| true)
    }
}

/// Whether the directory belongs to the process's user.
fn is_own(directory: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // A file that is made now does.
        let probe = directory.join(format!("probe-{:016x}", fastrand::u64(..)));
        let made = File::create_new(&probe)?.metadata();
        fs::remove_file(&probe)?;
        Ok(made?.uid() == fs::metadata(directory)?.uid())
    }
    #[cfg(not(unix))]
    {
        fs::metadata(directory).map(|_| true)
    }
}
