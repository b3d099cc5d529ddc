use std::time::Duration;

/// How long a request's entries are buffered.
pub(super) const MAX_BUFFERING: Duration = Duration::from_secs(5);

/// How many entries, and how many bytes of text, of a request are buffered. The excess is counted.
pub(super) const MAX_ENTRIES: usize = 256;
pub(super) const MAX_BYTES: usize = 64 * 1024;

/// How many bytes of one span or event are shown.
pub(super) const MAX_TEXT_BYTES: usize = 4096;
