//! The spooled requests of one signal.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::sync::lock;

/// The minimum space that a file occupies on most disks.
const BLOCK: u64 = 4096;

/// The supported encodings, and the suffixes of their files.
const ENCODINGS: [(&str, &str); 2] = [("gzip", ".gz"), ("zstd", ".zst")];

/// A file for each request: `<nanoseconds since 1970>-<number>-<items>`, with a suffix if it is
/// compressed.
#[derive(Debug)]
pub(super) struct SignalSpool {
    directory: PathBuf,
    max_bytes: u64,
    max_age: Duration,
    next_number: AtomicU64,
    index: Mutex<Index>,
    _lock: Arc<File>,
}

/// The contents of the directory, which is listed once, as no other process writes to it.
#[derive(Debug, Default)]
struct Index {
    /// By file name, and so by age.
    requests: BTreeMap<String, SpooledRequest>,
    bytes: u64,
    /// The name of the request that is being sent, which must not be dropped meanwhile.
    sending: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct SpooledRequest {
    name: String,
    /// The time since 1970 at which it was spooled.
    created: Duration,
    pub(super) items: usize,
    /// The value of `Content-Encoding`.
    pub(super) encoding: Option<&'static str>,
    bytes: u64,
    /// How many times the endpoint accepted a later request after it had failed at this one.
    skips: u32,
}

impl SignalSpool {
    pub(super) fn open(
        directory: PathBuf,
        max_bytes: u64,
        max_age: Duration,
        lock: Arc<File>,
    ) -> Self {
        Self {
            index: Mutex::new(Index::list(&directory)),
            directory,
            max_bytes,
            max_age,
            next_number: AtomicU64::new(0),
            _lock: lock,
        }
    }

    /// The number of items in the spool.
    pub(super) fn items(&self) -> usize {
        self.index()
            .requests
            .values()
            .map(|request| request.items)
            .sum()
    }

    /// Writes a request. Returns how many items were dropped to make room.
    pub(super) fn put(
        &self,
        items: usize,
        encoding: Option<&str>,
        body: &[u8],
    ) -> io::Result<usize> {
        let bytes = occupied(u64::try_from(body.len()).unwrap_or(u64::MAX));
        if bytes > self.max_bytes {
            return Err(io::Error::other("the request is larger than the spool"));
        }
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let created = since_1970();
        let encoding = ENCODINGS.iter().find(|(name, _)| Some(*name) == encoding);
        let suffix = encoding.map_or("", |(_, suffix)| suffix);
        let name = format!("{:020}-{number:010}-{items}{suffix}", created.as_nanos());
        // Renamed when complete, so that no partial request is sent. Nothing is dropped for a
        // request that cannot be written.
        let partial = self.directory.join("partial");
        let mut file = File::create(&partial)?;
        file.write_all(body)?;
        // Otherwise a power failure could leave the name without the contents.
        file.sync_data()?;
        drop(file);
        let mut index = self.index();
        fs::rename(partial, self.directory.join(&name))?;
        let mut dropped = 0;
        while index.bytes.saturating_add(bytes) > self.max_bytes
            && let Some(oldest) = index.oldest_not_sending()
        {
            dropped += oldest.items;
            self.delete(&mut index, &oldest);
        }
        index.insert(SpooledRequest {
            name,
            created,
            items,
            encoding: encoding.map(|(name, _)| *name),
            bytes,
            skips: 0,
        });
        Ok(dropped)
    }

    /// The oldest request, or the oldest after `after`, with its body; and how many items were
    /// dropped because they were too old. The request is kept until it is
    /// [removed](Self::remove), and protected until that or a [release](Self::release).
    pub(super) fn oldest(
        &self,
        after: Option<&SpooledRequest>,
    ) -> (Option<(SpooledRequest, Vec<u8>)>, usize) {
        let mut index = self.index();
        let mut dropped = 0;
        let now = since_1970();
        let mut next = index.first_after(match after {
            Some(after) => Bound::Excluded(&after.name),
            None => Bound::Unbounded,
        });
        while let Some(request) = next {
            if now.saturating_sub(request.created) > self.max_age {
                dropped += request.items;
                self.delete(&mut index, &request);
            } else {
                match fs::read(self.directory.join(&request.name)) {
                    Ok(body) => {
                        index.sending = Some(request.name.clone());
                        return (Some((request, body)), dropped);
                    }
                    // The file was deleted from outside.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        dropped += request.items;
                        index.remove(&request);
                    }
                    // It may be readable later, e.g. once file descriptors are available.
                    Err(_) => {}
                }
            }
            next = index.first_after(Bound::Excluded(&request.name));
        }
        (None, dropped)
    }

    /// Removes a request. If its file cannot be deleted, this process does not send the request
    /// again, but the next one does.
    pub(super) fn remove(&self, request: &SpooledRequest) {
        self.delete(&mut self.index(), request);
    }

    /// Ends the protection of the request that is being sent.
    pub(super) fn release(&self) {
        self.index().sending = None;
    }

    /// Counts that a later request was accepted. When the count reaches `max`, drops the request
    /// and returns its number of items, otherwise 0.
    pub(super) fn count_skip(&self, request: &SpooledRequest, max: u32) -> usize {
        let mut index = self.index();
        // The request may have been dropped meanwhile, to make room.
        let Some(request) = index.requests.get_mut(&request.name) else {
            return 0;
        };
        request.skips += 1;
        if request.skips < max {
            return 0;
        }
        let request = request.clone();
        self.delete(&mut index, &request);
        request.items
    }

    fn delete(&self, index: &mut Index, request: &SpooledRequest) {
        index.remove(request);
        let path = self.directory.join(&request.name);
        let Err(error) = fs::remove_file(&path) else {
            return;
        };
        if error.kind() != io::ErrorKind::NotFound {
            tracing::warn!(
                target: "platform_observability::export",
                "{} was sent or dropped, but cannot be deleted from the spool ({error}): delete it, or the next process will send it again",
                path.display(),
            );
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }
}

impl Index {
    fn list(directory: &Path) -> Self {
        let mut index = Self::default();
        let files = fs::read_dir(directory).into_iter().flatten().flatten();
        for request in files.filter_map(|file| SpooledRequest::from_file(&file.path())) {
            index.insert(request);
        }
        index
    }

    fn insert(&mut self, request: SpooledRequest) {
        self.bytes += request.bytes;
        self.requests.insert(request.name.clone(), request);
    }

    fn remove(&mut self, request: &SpooledRequest) {
        if self.requests.remove(&request.name).is_some() {
            self.bytes -= request.bytes;
        }
    }

    fn first_after(&self, name: Bound<&str>) -> Option<SpooledRequest> {
        let mut rest = self.requests.range::<str, _>((name, Bound::Unbounded));
        rest.next().map(|(_, request)| request.clone())
    }

    fn oldest_not_sending(&self) -> Option<SpooledRequest> {
        let mut requests = self.requests.values();
        requests
            .find(|request| self.sending.as_ref() != Some(&request.name))
            .cloned()
    }
}

impl SpooledRequest {
    /// `None` if the file is not one of the spool's.
    fn from_file(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let encoded = ENCODINGS
            .iter()
            .find_map(|(encoding, suffix)| Some((name.strip_suffix(suffix)?, Some(*encoding))));
        let (stem, encoding) = encoded.unwrap_or((name, None));
        let [created, number, items] = stem.split('-').collect::<Vec<_>>().try_into().ok()?;
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if created.len() != 20
            || number.len() < 10
            || ![created, number, items].into_iter().all(is_digits)
        {
            return None;
        }
        let metadata = fs::symlink_metadata(path).ok().filter(Metadata::is_file)?;
        Some(Self {
            created: Duration::from_nanos(created.parse().ok()?),
            items: items.parse().ok()?,
            encoding,
            bytes: occupied(metadata.len()),
            skips: 0,
            name: name.to_owned(),
        })
    }
}

/// The space that a file of this size occupies.
fn occupied(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX)
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
