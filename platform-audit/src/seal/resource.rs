//! The files of a published log (C2SP tlog-tiles).

use std::str::FromStr;

use platform_audit_tlog::tile::{BundleId, TileId, encode_bundle};

use super::error::SealError;
use super::log::SealedLog;
use crate::store::AuditDatabase;

/// A file of a published log, apart from its checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Tile(TileId),
    Bundle(BundleId),
}

impl FromStr for Resource {
    type Err = ();

    fn from_str(path: &str) -> Result<Self, ()> {
        let bundle = path.parse().map(Self::Bundle);
        bundle
            .or_else(|_| path.parse().map(Self::Tile))
            .map_err(|_| ())
    }
}

impl Resource {
    /// What the tree of `size` entries has, and that of `before` entries has not.
    #[cfg(feature = "object-store")]
    pub(super) fn between(before: u64, size: u64) -> Vec<Self> {
        let mut found = Vec::new();
        for level in 0..8_u8 {
            let hashes = |size: u64| size.checked_shr(8 * u32::from(level)).unwrap_or(0);
            let (first, end) = (hashes(before) / 256, hashes(size));
            for index in first..end.div_ceil(256) {
                // At most 256, and not 0.
                let width = (end - index * 256).min(256) as u16;
                found.extend(TileId::new(level, index, width).map(Self::Tile));
                if level == 0 {
                    found.extend(BundleId::new(index, width).map(Self::Bundle));
                }
            }
        }
        found
    }

    #[cfg(feature = "object-store")]
    pub(super) fn path(self) -> String {
        match self {
            Self::Tile(id) => id.path(),
            Self::Bundle(id) => id.path(),
        }
    }

    /// Whether the tree of `size` entries, or a smaller one, has it.
    pub(super) fn is_within(self, size: u64) -> bool {
        let (level, index, width) = match self {
            Self::Tile(id) => (id.level(), id.index(), id.width()),
            Self::Bundle(id) => (0, id.index(), id.width()),
        };
        let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
        let end = index.checked_mul(256);
        end.and_then(|start| start.checked_add(width.into()))
            .is_some_and(|end| end <= hashes)
    }

    /// Its bytes.
    pub(super) async fn read<DB: AuditDatabase>(
        self,
        log: &mut SealedLog<'_, DB>,
    ) -> Result<Vec<u8>, SealError> {
        match self {
            Self::Tile(id) => {
                // Of a partial tile of level 0, this is the size of the tree.
                let end = id.index() * 256 + u64::from(id.width());
                let hashes = log.tile_at(id, end).await?;
                let hashes = hashes.filter(|hashes| hashes.len() == id.bytes());
                hashes.ok_or(SealError::Damaged)
            }
            Self::Bundle(id) => {
                let start = id.index() * 256;
                let entries = log.entries(start, start + u64::from(id.width())).await?;
                if entries.len() != usize::from(id.width()) {
                    return Err(SealError::Damaged);
                }
                encode_bundle(entries.iter().map(|(_, entry)| entry)).map_err(SealError::malformed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Resource;

    fn is_within(path: &str, size: u64) -> bool {
        path.parse::<Resource>().unwrap().is_within(size)
    }

    #[test]
    fn only_what_a_checkpoint_covers_is_served() {
        for path in ["tile/0/000.p/5", "tile/entries/000.p/5"] {
            assert!(is_within(path, 5) && is_within(path, 600) && !is_within(path, 4));
        }
        for path in ["tile/0/001", "tile/entries/001", "tile/1/000.p/2"] {
            assert!(is_within(path, 512) && !is_within(path, 511), "{path}");
        }
        assert!(is_within("tile/2/000.p/1", 65_536) && !is_within("tile/2/000.p/1", 65_535));
        assert!(!is_within("tile/63/000.p/1", u64::MAX));
        assert!(!is_within(
            "tile/0/x018/x446/x744/x073/x709/x551/615",
            u64::MAX
        ));
    }

    #[test]
    fn only_canonical_paths_are_parsed() {
        for path in [
            "tile/0/0",
            "tile/0/000.p/256",
            "tile/64/000",
            "tile/0/../1",
            "tile/00/000",
        ] {
            assert!(path.parse::<Resource>().is_err(), "{path}");
        }
    }

    #[cfg(feature = "object-store")]
    #[test]
    fn what_was_published_is_not_published_again() {
        let paths = |before, size| {
            let found = Resource::between(before, size);
            found.into_iter().map(Resource::path).collect::<Vec<_>>()
        };
        let new = ["tile/0/000.p/5", "tile/entries/000.p/5"];
        assert_eq!(paths(0, 5), new);
        let new = [
            "tile/0/001",
            "tile/entries/001",
            "tile/0/002.p/1",
            "tile/entries/002.p/1",
            "tile/1/000.p/2",
        ];
        assert_eq!(paths(256, 513), new);
        assert_eq!(paths(65_536, 65_536 + 256).len(), 4);
        assert_eq!(paths(0, 1 << 24).len(), 2 * 65_536 + 256 + 1 + 1);
    }
}
