use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::sync::lock;

/// Set when the process shuts down: from then on, no exporter waits between attempts.
#[derive(Clone, Debug, Default)]
pub(super) struct ShutdownFlag(Arc<(Mutex<bool>, Condvar)>);

impl ShutdownFlag {
    pub(super) fn set(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }

    pub(super) fn is_set(&self) -> bool {
        *lock(&self.0.0)
    }

    /// Waits for `pause`, or until the flag is set.
    pub(super) fn wait(&self, pause: Duration) {
        let (is_set, changed) = &*self.0;
        // A poisoned lock only ends the wait early.
        let _ = changed.wait_timeout_while(lock(is_set), pause, |is_set| !*is_set);
    }
}
