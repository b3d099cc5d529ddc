//! Compares the log with its seals, its tree, and with checkpoints from outside the database.

mod anchors;
mod batches;
mod ends;
mod published;
mod records;
mod report;
mod run;
mod tree;

use std::path::PathBuf;
use std::sync::Arc;

use platform_audit_tlog::note::VerifierKey;

pub use report::{Checked, Harm, HarmKind, Verdict, Verification};
pub(crate) use run::verify;

use super::error::SealError;

/// What a log is verified against.
#[derive(Clone, Default)]
#[must_use]
pub struct Verify {
    keys: Vec<VerifierKey>,
    tiles: Option<PathBuf>,
    checkpoints: Vec<(String, String)>,
    progress: Option<Progress>,
}

/// Called with the number of entries that were read, and that there are.
type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

impl Verify {
    /// Trusts checkpoints that are signed with `key`, the verifier key of the log in text form
    /// (C2SP signed-note). A log whose key was rotated has several.
    ///
    /// # Errors
    ///
    /// [`SealError::Key`] if it is malformed.
    pub fn key(mut self, key: &str) -> Result<Self, SealError> {
        let parsed = key
            .trim()
            .parse()
            .map_err(|error| SealError::Key(format!("this is not a verifier key: {error}")))?;
        self.keys.push(parsed);
        Ok(self)
    }

    /// Compares with a published log: its checkpoints are anchors, and its tiles are checked.
    pub fn tiles(mut self, directory: impl Into<PathBuf>) -> Self {
        self.tiles = Some(directory.into());
        self
    }

    /// Compares with a checkpoint that somebody kept. `name` says where it is from.
    pub fn checkpoint(mut self, name: impl Into<String>, note: impl Into<String>) -> Self {
        self.checkpoints.push((name.into(), note.into()));
        self
    }

    /// Calls `progress` with the number of entries that were read, and that there are.
    pub fn progress(mut self, progress: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }
}

impl std::fmt::Debug for Verify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verify")
            .field("keys", &self.keys)
            .field("tiles", &self.tiles)
            .field("checkpoints", &self.checkpoints.len())
            .finish_non_exhaustive()
    }
}
