use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex. The data behind the crate's mutexes stays valid if a thread panics.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
