//! The files of a published log.

use platform_audit_tlog::tile::{BundleId, Tile, TileId};

use super::Verify;
use super::anchors::Anchors;
use super::report::{Harm, HarmKind};
use super::tree::{Expected, WIDTH};
use crate::seal::directory::Directory;
use crate::seal::error::SealError;

/// Compares the published tiles and entries with those of the database.
#[derive(Debug)]
pub(super) struct Published {
    directory: Directory,
    /// The number of entries that are published.
    size: u64,
    /// The entries of the current bundle, as published, and how many there should be.
    bundle: Vec<u8>,
    entries: u64,
    /// Files that are lost or differ, with the position after the last entry that they cover.
    differing: Vec<(u64, String)>,
}

impl Published {
    /// Reads the checkpoints of a published log and adds them to `anchors`.
    pub(super) fn open(
        directory: Directory,
        anchors: &mut Anchors,
        options: &Verify,
    ) -> Result<Self, SealError> {
        let newest = directory.checkpoint()?;
        let archived = directory.checkpoints()?;
        if newest.is_none() && archived.is_empty() {
            return Err(SealError::NotFound(format!(
                "{} contains no checkpoint: pass the directory that the sealer publishes to",
                directory.path().display()
            )));
        }
        for (name, note) in archived {
            let place = directory.place(&format!("checkpoints/{name}"));
            anchors.add(place.into_owned(), &note, true, &options.keys);
        }
        let mut size = 0;
        if let Some(note) = newest {
            let place = directory.place("checkpoint").into_owned();
            let known = anchors.valid.len();
            anchors.add(place.clone(), &note, true, &options.keys);
            if let Some(anchor) = anchors.valid.get(known) {
                size = anchor.checkpoint.size();
                // The sealer tells the database after it has published.
                if size < anchors.largest_stored {
                    let harm = Harm::new(HarmKind::StaleAnchor).at(size);
                    anchors.findings.push(harm.what(place));
                }
            }
        }
        Ok(Self {
            directory,
            size,
            bundle: Vec::new(),
            entries: 0,
            differing: Vec::new(),
        })
    }

    /// The number of entries that are published.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The published tile of level 0, full or partial, of a log with at most `size` entries.
    pub(super) fn lowest(&self, index: u64, size: u64) -> Result<Option<Expected>, SealError> {
        let width = (size - index * WIDTH).min(WIDTH);
        // The partial tile of the size that was published is the widest one that exists.
        for width in (1..=width).rev() {
            let Ok(width) = u16::try_from(width) else {
                continue;
            };
            let Ok(id) = TileId::new(0, index, width) else {
                continue;
            };
            if let Some(hashes) = self.directory.tile(id)? {
                let name = self.directory.place(&id.path()).into_owned();
                return Ok(Some(Expected {
                    hashes,
                    name,
                    is_published: true,
                }));
            }
        }
        Ok(None)
    }

    /// The next entry. After the last one of a bundle, the bundle is compared.
    pub(super) fn entry(&mut self, position: u64, entry: &[u8]) -> Result<(), SealError> {
        if position >= self.size {
            return Ok(());
        }
        if position.is_multiple_of(WIDTH) {
            self.bundle.clear();
            self.entries = 0;
        }
        self.entries += 1;
        // An entry is at most 65,535 bytes, which the database checks.
        let length = u16::try_from(entry.len()).map_err(SealError::malformed)?;
        self.bundle.extend_from_slice(&length.to_be_bytes());
        self.bundle.extend_from_slice(entry);
        let end = position + 1;
        let width = (position % WIDTH) + 1;
        // An incomplete bundle is a gap in the database.
        if self.entries == width && (width == WIDTH || end == self.size) {
            let width = u16::try_from(width).map_err(SealError::malformed)?;
            let id = BundleId::new(position / WIDTH, width).map_err(SealError::malformed)?;
            if !self.directory.has_bundle(id, &self.bundle)? {
                let name = self.directory.place(&id.path()).into_owned();
                self.differing.push((end, name));
            }
        }
        Ok(())
    }

    /// Compares a tile of the database with the published one, as far as the published log goes.
    pub(super) fn tile(&mut self, tile: &Tile) -> Result<(), SealError> {
        let full = tile.id().full().end_index().unwrap_or(u64::MAX);
        let end = match tile.id().is_partial() {
            true => self.size,
            false => full,
        };
        if end > self.size {
            return Ok(());
        }
        let found = self.directory.tile(tile.id())?;
        if found.is_none_or(|bytes| bytes != tile.bytes()) {
            let name = self.directory.place(&tile.id().path()).into_owned();
            self.differing.push((end, name));
        }
        Ok(())
    }

    /// The files that are lost or differ. `agrees` says whether a checkpoint of at least this size
    /// contains the root of the database's entries: otherwise not the file was altered.
    pub(super) fn differing(&self, agrees: impl Fn(u64) -> Option<bool>) -> Vec<String> {
        let altered = self
            .differing
            .iter()
            .filter(|it| agrees(it.0) == Some(true));
        altered.map(|it| it.1.clone()).collect()
    }
}
