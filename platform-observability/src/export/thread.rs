use std::thread;

use crate::error::Error;

/// Starts a named thread.
pub(super) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = thread::Builder::new().name(name.to_owned());
    let spawned = thread.spawn(run).map(drop);
    spawned.map_err(|source| Error::Thread { source })
}
