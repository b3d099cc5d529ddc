use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time since 1970 (UTC), which is monotonic. Tests replace it.
#[derive(Clone)]
pub(super) struct Clock(pub(super) Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    pub(super) fn system() -> Self {
        // A system clock before 1970 only makes the displayed time of day wrong.
        let at_start = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let start = Instant::now();
        Self(Arc::new(move || at_start + start.elapsed()))
    }

    pub(super) fn now(&self) -> Duration {
        (self.0)()
    }
}
