use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Set when the process shuts down: from then on, no exporter waits between attempts.
#[derive(Clone, Debug, Default)]
pub(super) struct ShutdownSignal(Arc<(Mutex<bool>, Condvar)>);

impl ShutdownSignal {
    pub(super) fn set(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    pub(super) fn is_set(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `pause`, or until the signal is set.
    pub(super) fn wait(&self, pause: Duration) {
        let is_set = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A poisoned lock only ends the wait early.
        let _ = self
            .0
            .1
            .wait_timeout_while(is_set, pause, |is_set| !*is_set);
    }
}
