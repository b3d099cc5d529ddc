//! Checkpoints that the tree is compared with.

use platform_audit_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use platform_audit_tlog::note::VerifierKey;

use super::report::{Harm, HarmKind};
use super::tree::TreeCheck;
use crate::seal::checkpoint::Published;

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
                let harm = Harm::new(HarmKind::UnknownKey);
                self.findings.push(match Published::parse(note.as_bytes()) {
                    Some(signed) => harm.at(signed.checkpoint.size()).what(name),
                    None => harm.what(format!("{name}: {error}")),
                });
            }
        }
    }

    /// Sorts by size. Of the same size, those of the database come first.
    pub(super) fn sort(&mut self) {
        self.valid.sort_by_key(|anchor| anchor.checkpoint.size());
    }

    /// Compares the checkpoints with the tree. Returns which sizes agree.
    pub(super) fn agreement(&self, check: &TreeCheck) -> Agreement {
        let mut agreement = Agreement::default();
        for anchor in &self.valid {
            let size = anchor.checkpoint.size();
            let Some(root) = check.root(size) else {
                continue;
            };
            let sizes = match anchor.is_external {
                true => &mut agreement.external,
                false => &mut agreement.stored,
            };
            sizes.known = sizes.known.max(size);
            if root == anchor.checkpoint.root() {
                sizes.agreeing = sizes.agreeing.max(size);
            }
        }
        agreement
    }
}

/// The sizes up to which checkpoints agree with the tree.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Agreement {
    pub(super) external: Sizes,
    stored: Sizes,
}

/// The largest sizes, 0 if there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sizes {
    known: u64,
    pub(super) agreeing: u64,
}

impl Agreement {
    /// Whether the first `size` entries are those that were signed; `None` if no checkpoint covers
    /// them. The owner of the database can sign its checkpoints again with a stolen key, but not
    /// those outside.
    pub(super) fn covers(&self, size: u64) -> Option<bool> {
        let sizes = [self.external, self.stored];
        let sizes = sizes.into_iter().find(|it| it.known >= size)?;
        Some(sizes.agreeing >= size)
    }
}
