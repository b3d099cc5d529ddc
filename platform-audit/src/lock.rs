//! Locking of a mutex that is never poisoned.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`. Code in this crate does not panic while it has the lock, so poisoning is ignored.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
