use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::decimal;
use crate::tree::HASH_BYTES;

/// The number of hashes in a full tile, and of entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;

/// The highest level that a path may have. Trees of less than 2^64 entries have tiles up to level
/// 7.
pub const MAX_TILE_LEVEL: u8 = 63;

/// Names a tile: its level, its index within the level, and how many hashes it contains (C2SP
/// tlog-tiles, “Merkle Tree”).
///
/// [`Display`](fmt::Display) and [`FromStr`] use the path of the tile.
///
/// ```
/// use platform_audit_tlog::tile::TileId;
///
/// let full = TileId::new(0, 1_234_067, 256)?;
/// assert_eq!(full.path(), "tile/0/x001/x234/067");
/// assert_eq!("tile/1/000.p/5".parse(), Ok(TileId::new(1, 0, 5)?));
/// # Ok::<(), platform_audit_tlog::tile::TileIdError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    level: u8,
    index: u64,
    width: u16,
}

impl TileId {
    /// Returns the identifier of the tile with this level (0 to 63), index within the level, and
    /// width (1 to 256 hashes; 256 is a full tile).
    ///
    /// # Errors
    ///
    /// The level or the width is out of range.
    pub const fn new(level: u8, index: u64, width: u16) -> Result<Self, TileIdError> {
        if level > MAX_TILE_LEVEL {
            return Err(TileIdError::Level(level));
        }
        if width == 0 || width > TILE_WIDTH {
            return Err(TileIdError::Width(width));
        }
        Ok(Self {
            level,
            index,
            width,
        })
    }

    /// As [`new`](Self::new), for values that are known to be in range.
    pub(super) const fn of_tree(level: u8, index: u64, width: u16) -> Self {
        Self {
            level,
            index,
            width,
        }
    }

    /// Returns the level, from 0 (hashes of entries).
    #[must_use]
    pub const fn level(self) -> u8 {
        self.level
    }

    /// Returns the index within the level, from 0.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Returns the number of hashes, 1 to 256.
    #[must_use]
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Returns the length of the tile: 32 bytes for each hash.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.width as usize * HASH_BYTES
    }

    /// Returns whether the tile contains fewer than 256 hashes.
    #[must_use]
    pub const fn is_partial(self) -> bool {
        self.width < TILE_WIDTH
    }

    /// Returns the full tile at the same place.
    #[must_use]
    pub const fn full(self) -> Self {
        Self {
            width: TILE_WIDTH,
            ..self
        }
    }

    /// Returns the index after the last entry that the full tile spans, or `None` if it exceeds 64
    /// bits. A log may stop serving full tiles whose end index is at most its minimum index (C2SP
    /// tlog-tiles, “Pruning”).
    #[must_use]
    pub fn end_index(self) -> Option<u64> {
        let shift = 8 * (u32::from(self.level) + 1);
        let span = 1_u64.checked_shl(shift)?;
        self.index.checked_add(1)?.checked_mul(span)
    }

    /// Returns the path below the log's URL prefix, such as `tile/0/x001/x234/067.p/5`.
    #[must_use]
    pub fn path(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_place(f, self.index, self.width)
    }
}

impl FromStr for TileId {
    type Err = ParsePathError;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        let rest = path.strip_prefix("tile/").ok_or(ParsePathError)?;
        let (level, place) = rest.split_once('/').ok_or(ParsePathError)?;
        let level = decimal::parse(level).and_then(|it| it.try_into().ok());
        let (index, width) = parse_place(place)?;
        Self::new(level.ok_or(ParsePathError)?, index, width).map_err(|_| ParsePathError)
    }
}

/// Names an entry bundle: the entries whose hashes are in the tile of level 0 with the same index
/// and width (C2SP tlog-tiles, “Log entries”).
///
/// [`Display`](fmt::Display) and [`FromStr`] use the path of the bundle.
///
/// ```
/// use platform_audit_tlog::tile::BundleId;
///
/// assert_eq!(BundleId::new(273, 112)?.path(), "tile/entries/273.p/112");
/// # Ok::<(), platform_audit_tlog::tile::TileIdError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId {
    index: u64,
    width: u16,
}

impl BundleId {
    /// Returns the identifier of the bundle with this index and number of entries (1 to 256).
    ///
    /// # Errors
    ///
    /// The width is out of range.
    pub const fn new(index: u64, width: u16) -> Result<Self, TileIdError> {
        match TileId::new(0, index, width) {
            Ok(_) => Ok(Self { index, width }),
            Err(error) => Err(error),
        }
    }

    /// Returns the index, from 0.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Returns the number of entries, 1 to 256.
    #[must_use]
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Returns the full bundle at the same place.
    #[must_use]
    pub const fn full(self) -> Self {
        Self {
            width: TILE_WIDTH,
            ..self
        }
    }

    /// Returns the tile with the hashes of the entries.
    #[must_use]
    pub const fn tile(self) -> TileId {
        TileId::of_tree(0, self.index, self.width)
    }

    /// Returns the path below the log's URL prefix, such as `tile/entries/273.p/112`.
    #[must_use]
    pub fn path(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_place(f, self.index, self.width)
    }
}

impl FromStr for BundleId {
    type Err = ParsePathError;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        let place = path.strip_prefix("tile/entries/").ok_or(ParsePathError)?;
        let (index, width) = parse_place(place)?;
        Self::new(index, width).map_err(|_| ParsePathError)
    }
}

/// Writes `<N>[.p/<W>]`: the index in groups of three digits, all but the last after an `x`.
fn write_place(f: &mut impl fmt::Write, index: u64, width: u16) -> fmt::Result {
    let mut divisor = 1_u64;
    while index / divisor >= 1000 {
        divisor *= 1000;
    }
    while divisor > 1 {
        write!(f, "x{:03}/", index / divisor % 1000)?;
        divisor /= 1000;
    }
    write!(f, "{:03}", index % 1000)?;
    match width < TILE_WIDTH {
        true => write!(f, ".p/{width}"),
        false => Ok(()),
    }
}

fn parse_place(place: &str) -> Result<(u64, u16), ParsePathError> {
    let (number, width) = match place.split_once(".p/") {
        Some((number, width)) => (number, decimal::parse(width).ok_or(ParsePathError)?),
        None => (place, u64::from(TILE_WIDTH)),
    };
    let width = width.try_into().map_err(|_| ParsePathError)?;
    let mut index = 0_u64;
    for group in number.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        let group: u64 = digits.parse().map_err(|_| ParsePathError)?;
        index = index
            .checked_mul(1000)
            .and_then(|it| it.checked_add(group))
            .ok_or(ParsePathError)?;
    }
    // The encoding is unique, so this covers every rule about `x`, zeroes and full widths.
    let mut canonical = String::with_capacity(place.len());
    let written = write_place(&mut canonical, index, width);
    match written.is_ok() && canonical == place {
        true => Ok((index, width)),
        false => Err(ParsePathError),
    }
}

/// A level or a width is out of range.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TileIdError {
    /// The level exceeds [`MAX_TILE_LEVEL`].
    #[error("there is no tile of level {0}: levels are 0 to 63")]
    Level(u8),
    /// The width is 0 or exceeds [`TILE_WIDTH`].
    #[error("a tile or bundle of width {0} does not exist: use 1 to 256")]
    Width(u16),
}

/// A path does not name a tile or a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the path is not in the form of C2SP tlog-tiles: use `tile/<level>/<index>` or `tile/entries/<index>`, with `.p/<width>` for a partial one"
)]
pub struct ParsePathError;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        for (level, index, width, path) in [
            (0, 0, 256, "tile/0/000"),
            (0, 999, 256, "tile/0/999"),
            (0, 1000, 255, "tile/0/x001/000.p/255"),
            (2, 1_234_067, 256, "tile/2/x001/x234/067"),
            (63, 1_000_000, 1, "tile/63/x001/x000/000.p/1"),
            (7, u64::MAX, 256, "tile/7/x018/x446/x744/x073/x709/x551/615"),
        ] {
            let id = TileId::new(level, index, width).unwrap();
            assert_eq!(id.path(), path);
            assert_eq!(path.parse(), Ok(id));
            let bundle = BundleId::new(index, width).unwrap();
            assert_eq!(bundle.path().parse(), Ok(bundle));
        }
    }

    #[test]
    fn other_paths_are_refused() {
        for path in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "/tile/0/000",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/00/000",
            "tile/64/000",
            "tile/256/000",
            "tile/-1/000",
            "tile/0/x000/000",
            "tile/0/001/000",
            "tile/0/x001/x000",
            "tile/0/x001/00",
            "tile/0/000/",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000.p/1/2",
            "tile/0/+01",
            "tile/0/x+01/000",
            "tile/0/xx01/000",
            "tile/0/000 ",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/../000",
            "tile/entries/000",
            "tile/0/000.p/65537",
        ] {
            assert_eq!(path.parse::<TileId>(), Err(ParsePathError), "{path}");
        }
        assert_eq!("tile/0/000".parse::<BundleId>(), Err(ParsePathError));
        assert!(TileId::new(64, 0, 1).is_err());
        assert!(TileId::new(0, 0, 0).is_err());
        assert!(BundleId::new(0, 257).is_err());
    }

    #[test]
    fn the_end_index_follows_the_specification() {
        let end = |level, index| TileId::new(level, index, 256).unwrap().end_index();
        assert_eq!(end(0, 0), Some(256));
        assert_eq!(end(1, 2), Some(3 * 65_536));
        assert_eq!(end(6, 254), Some(255 << 56));
        assert_eq!(end(6, 255), None);
        assert_eq!(end(7, 0), None);
        assert_eq!(end(63, u64::MAX), None);
    }

    proptest! {
        #[test]
        fn every_identifier_parses_from_its_path(level in 0..=63_u8, index: u64, shift in 0..64_u32, width in 1..=256_u16) {
            let id = TileId::new(level, index >> shift, width).unwrap();
            prop_assert_eq!(id.path().parse(), Ok(id));
        }

        #[test]
        fn a_path_that_parses_is_the_path_of_the_identifier(path in "tile/[0-9]{1,3}/(x?[0-9]{2,4}/){0,3}[0-9]{3}(\\.p/[0-9]{1,3})?") {
            if let Ok(id) = path.parse::<TileId>() {
                prop_assert_eq!(id.path(), path);
            }
        }

        #[test]
        fn arbitrary_text_is_no_reason_to_panic(path: String, place: String) {
            let _ = path.parse::<TileId>();
            let _ = path.parse::<BundleId>();
            let _ = format!("tile/0/{place}").parse::<TileId>();
        }
    }
}
