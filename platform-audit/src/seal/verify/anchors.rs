//! Checkpoints that the tree is compared with.

use platform_audit_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use platform_audit_tlog::note::VerifierKey;

use super::report::{Harm, HarmKind};

/// A checkpoint with a valid signature of a key that the verifier was given.
#[derive(Clone, Debug)]
pub(super) struct Anchor {
    pub(super) name: String,
    pub(super) note: String,
    /// Whether it comes from outside the database.
    pub(super) is_external: bool,
    pub(super) checkpoint: Checkpoint,
}

/// The checkpoints by their origin: valid ones, and what contradicts already.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    pub(super) valid: Vec<Anchor>,
    pub(super) findings: Vec<Harm>,
    /// The largest size that a checkpoint of the database claims, valid or not.
    pub(super) largest_stored: u64,
    /// The size of the published log.
    pub(super) published: u64,
}

impl Anchors {
    /// Adds a checkpoint and verifies its signature.
    pub(super) fn add(
        &mut self,
        name: String,
        note: &str,
        is_external: bool,
        keys: &[VerifierKey],
    ) {
        match SignedCheckpoint::open(note, keys) {
            Ok(signed) => {
                let checkpoint = signed.checkpoint().clone();
                if !is_external {
                    self.largest_stored = self.largest_stored.max(checkpoint.size());
                }
                self.valid.push(Anchor {
                    name,
                    note: note.to_owned(),
                    is_external,
                    checkpoint,
                });
            }
            Err(error) => {
                let what = format!("{name}: {error}");
                self.findings
                    .push(Harm::new(HarmKind::UnknownKey).what(what));
            }
        }
    }

    /// Sorts by size, and finds two of the same size that differ.
    pub(super) fn sort(&mut self) {
        self.valid.sort_by_key(|anchor| anchor.checkpoint.size());
        for pair in self.valid.windows(2) {
            let (one, other) = (&pair[0].checkpoint, &pair[1].checkpoint);
            if one.size() == other.size() && one.root() != other.root() {
                let (one, other) = (&pair[0], &pair[1]);
                let what = format!(
                    "{}:\n{}\n{}:\n{}",
                    one.name, one.note, other.name, other.note
                );
                let harm = Harm::new(HarmKind::SplitView).at(one.checkpoint.size());
                self.findings.push(harm.what(what));
            }
        }
    }
}
