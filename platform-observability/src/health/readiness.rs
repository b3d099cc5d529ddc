use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The switch for readiness, which is initially on. Clones share the state.
///
/// While readiness is off, `/readyz` responds with 503 immediately and runs no check.
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

    /// Turns readiness on or off; for example, off until a cache is warm.
    ///
    /// [`Serve`](crate::Serve) turns readiness off during the shutdown; do not turn it on after that.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }

    /// Whether readiness is on.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }
}
