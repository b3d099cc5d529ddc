use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the service wants requests: a switch whose clones are one. It starts as ready.
///
/// While it is off, `/readyz` answers 503 at once and runs no check.
#[derive(Clone, Debug)]
pub struct Readiness {
    ready: Arc<AtomicBool>,
}

impl Readiness {
    pub(super) fn new() -> Self {
        Self {
            ready: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Turns it on or off, such as off until a cache is warm.
    ///
    /// [`Serve`](crate::Serve) turns it off when the service is told to stop; leave it off then.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }

    /// Whether it is on.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }
}
