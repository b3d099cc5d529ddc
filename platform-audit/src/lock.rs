//! Locking a mutex whose holders never panic.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// No panic can happen while it is held.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
