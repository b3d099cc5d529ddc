//! Locking of a mutex that no holder poisons.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`. No code that holds it can panic, so poisoning is ignored.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
