use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the service is ready for requests; initially it is. Clones share the state.
///
/// While it is off, `/readyz` responds with 503 immediately and runs no check.
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

    /// Turns it on or off; for example, off until a cache is warm.
    ///
    /// [`Serve`](crate::Serve) turns it off during the shutdown; do not turn it on after that.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }

    /// Whether it is on.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }
}
