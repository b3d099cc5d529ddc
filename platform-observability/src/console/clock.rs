use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time since 1970 (UTC), which does not jump once it runs; a test has one of its own.
#[derive(Clone)]
pub(super) struct Clock(pub(super) Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    pub(super) fn of_system() -> Self {
        // Before 1970 it shows a wrong time of day, and nothing worse.
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
