//! The bytes of a record as the database returns them, one value for each of
//! [`COLUMNS`](crate::record::COLUMNS).

use uuid::Uuid;

/// The value of a column. It borrows from the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored<'a> {
    /// NULL, or a column that the table does not have.
    Null,
    Uuid([u8; 16]),
    /// Microseconds since 1970 in UTC.
    Micros(i64),
    Integer(i64),
    Text(&'a [u8]),
    /// JSON text, exactly as stored.
    Json(&'a [u8]),
}

impl Stored<'_> {
    /// The value as text; `None` is NULL.
    pub(crate) fn to_text(self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Uuid(bytes) => Uuid::from_bytes(bytes).to_string(),
            Self::Micros(number) | Self::Integer(number) => number.to_string(),
            Self::Text(bytes) | Self::Json(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        })
    }
}

/// Why a row could not be decoded.
#[derive(Debug, thiserror::Error)]
#[error("a row of the audit log has an unexpected form: {0}")]
pub(crate) struct MalformedRow(&'static str);

/// Microseconds from 1970 to 2000, the epoch of Postgres.
const EPOCH: i64 = 946_684_800_000_000;

/// The types of Postgres' columns, as this crate selects them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PgType {
    Uuid,
    Timestamp,
    Integer,
    Text,
    Json,
}

/// Reads the fields of a composite value in Postgres' binary format (`record_send`): the number of
/// fields, and for each its type's oid, its length (-1 for NULL) and its bytes.
#[derive(Debug)]
pub(crate) struct Composite<'a> {
    rest: &'a [u8],
}

impl<'a> Composite<'a> {
    pub(crate) fn new(row: &'a [u8], fields: usize) -> Result<Self, MalformedRow> {
        let (count, rest) = split(row)?;
        if usize::try_from(i32::from_be_bytes(count)).ok() != Some(fields) {
            return Err(MalformedRow("wrong number of columns"));
        }
        Ok(Self { rest })
    }

    /// The bytes of the next field; `None` is NULL.
    pub(crate) fn bytes(&mut self) -> Result<Option<&'a [u8]>, MalformedRow> {
        let (_oid, rest) = split::<4>(self.rest)?;
        let (length, rest) = split(rest)?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(length)) else {
            self.rest = rest;
            return Ok(None);
        };
        let (bytes, rest) = rest.split_at_checked(length).ok_or(SHORT)?;
        self.rest = rest;
        Ok(Some(bytes))
    }

    /// The next field.
    pub(crate) fn next(&mut self, kind: PgType) -> Result<Stored<'a>, MalformedRow> {
        let Some(bytes) = self.bytes()? else {
            return Ok(Stored::Null);
        };
        Ok(match kind {
            PgType::Uuid => Stored::Uuid(array(bytes)?),
            // Saturates for -infinity and infinity.
            PgType::Timestamp => Stored::Micros(integer(bytes)?.saturating_add(EPOCH)),
            PgType::Integer => Stored::Integer(integer(bytes)?),
            PgType::Text => Stored::Text(bytes),
            // The first byte is the version of jsonb's binary format; the rest is its text.
            PgType::Json => Stored::Json(bytes.get(1..).ok_or(SHORT)?),
        })
    }

    pub(crate) fn integer(&mut self) -> Result<i64, MalformedRow> {
        integer(self.required()?)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], MalformedRow> {
        array(self.required()?)
    }

    pub(crate) fn required(&mut self) -> Result<&'a [u8], MalformedRow> {
        self.bytes()?
            .ok_or(MalformedRow("NULL in a required column"))
    }
}

/// Reads the fields of a row that SQLite returns as one value: for each its length in decimal, a
/// colon and its bytes, or `-` for NULL.
#[derive(Debug)]
pub(crate) struct Netstrings<'a> {
    rest: &'a [u8],
}

impl<'a> Netstrings<'a> {
    pub(crate) fn new(row: &'a [u8]) -> Self {
        Self { rest: row }
    }

    /// The bytes of the next field; `None` is NULL.
    pub(crate) fn bytes(&mut self) -> Result<Option<&'a [u8]>, MalformedRow> {
        if let Some(rest) = self.rest.strip_prefix(b"-") {
            self.rest = rest;
            return Ok(None);
        }
        let colon = self.rest.iter().position(|&byte| byte == b':');
        let (length, rest) = self.rest.split_at(colon.ok_or(SHORT)?);
        let length = std::str::from_utf8(length)
            .ok()
            .and_then(|it| it.parse().ok());
        let (bytes, rest) = rest
            .get(1..)
            .and_then(|rest| rest.split_at_checked(length?))
            .ok_or(SHORT)?;
        self.rest = rest;
        Ok(Some(bytes))
    }

    pub(crate) fn required(&mut self) -> Result<&'a [u8], MalformedRow> {
        self.bytes()?
            .ok_or(MalformedRow("NULL in a required column"))
    }

    pub(crate) fn integer(&mut self) -> Result<i64, MalformedRow> {
        let text = std::str::from_utf8(self.required()?).ok();
        text.and_then(|text| text.parse().ok())
            .ok_or(MalformedRow("not a number"))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], MalformedRow> {
        array(self.required()?)
    }
}

/// The 16 bytes by which the log names a record whose id is `text`: those of the UUID, or of the
/// SHA-256 of an id that is none, which only the owner of the database can have written.
pub(crate) fn id_bytes(text: &[u8]) -> [u8; 16] {
    use sha2::{Digest, Sha256};

    if let Ok(id) = Uuid::try_parse_ascii(text) {
        return id.into_bytes();
    }
    let mut id = [0; 16];
    id.copy_from_slice(&Sha256::digest(text)[..16]);
    id
}

const SHORT: MalformedRow = MalformedRow("it ends too early");

fn split<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), MalformedRow> {
    let (first, rest) = bytes.split_first_chunk().ok_or(SHORT)?;
    Ok((*first, rest))
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], MalformedRow> {
    bytes
        .try_into()
        .map_err(|_| MalformedRow("wrong length of a value"))
}

/// A signed integer of 2, 4 or 8 bytes.
fn integer(bytes: &[u8]) -> Result<i64, MalformedRow> {
    Ok(match bytes.len() {
        2 => i64::from(i16::from_be_bytes(array(bytes)?)),
        4 => i64::from(i32::from_be_bytes(array(bytes)?)),
        _ => i64::from_be_bytes(array(bytes)?),
    })
}
