use std::time::{Duration, Instant};

/// A point in time, `timeout` after its creation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub(super) timeout: Duration,
    /// `None` if it is beyond the range of the clock.
    ends: Option<Instant>,
}

impl Deadline {
    pub(super) fn after(timeout: Duration) -> Self {
        let ends = Instant::now().checked_add(timeout);
        Self { timeout, ends }
    }

    pub(super) fn remaining(&self) -> Duration {
        self.ends.map_or(self.timeout, |ends| {
            ends.saturating_duration_since(Instant::now())
        })
    }
}
