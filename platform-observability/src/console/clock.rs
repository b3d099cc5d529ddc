use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Returns the time since 1970 (UTC), which is monotonic. Tests replace it.
pub(super) type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

pub(super) fn system_clock() -> Clock {
    // A system clock before 1970 only makes the displayed time of day wrong.
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let (at_start, start) = (since_1970.unwrap_or_default(), Instant::now());
    Arc::new(move || at_start + start.elapsed())
}
