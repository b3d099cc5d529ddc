use std::borrow::Cow;

use jiff::Timestamp;
use uuid::Uuid;

/// An argument of a statement.
///
/// The Postgres driver sends each argument with its column's type. If it were sent as text, the
/// server would look up the conversion for each record, which took a twentieth of the transaction's
/// time.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Argument<'a> {
    Text(Option<&'a str>),
    Uuid(Uuid),
    /// Text that is JSON.
    Json(&'a str),
    /// With a precision of microseconds.
    Time(Option<Timestamp>),
    /// An HTTP status code.
    Status(Option<u16>),
    /// Arrays. Postgres only.
    #[cfg(feature = "seal")]
    Integers(&'a [i64]),
    #[cfg(feature = "seal")]
    Uuids(&'a [[u8; 16]]),
    #[cfg(feature = "seal")]
    ByteStrings(&'a [&'a [u8]]),
}

impl<'a> From<&'a str> for Argument<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> Argument<'a> {
    /// As text, which the statement converts to the column's type; `None` is NULL.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => text.map(Cow::Borrowed),
            Self::Uuid(id) => Some(id.to_string().into()),
            Self::Json(json) => Some(json.into()),
            Self::Time(time) => time.map(|time| time.to_string().into()),
            Self::Status(status) => status.map(|status| status.to_string().into()),
            #[cfg(feature = "seal")]
            Self::Integers(numbers) => Some(array_text(numbers.iter()).into()),
            #[cfg(feature = "seal")]
            Self::Uuids(ids) => Some(array_text(ids.iter().map(|id| Uuid::from_bytes(*id))).into()),
            #[cfg(feature = "seal")]
            Self::ByteStrings(strings) => {
                let hexadecimal = |bytes: &&[u8]| format!(r#""\\x{}""#, hex::encode(bytes));
                Some(array_text(strings.iter().map(hexadecimal)).into())
            }
        }
    }
}

/// Values without special characters as an array of Postgres.
#[cfg(feature = "seal")]
fn array_text<T: std::fmt::Display>(values: impl Iterator<Item = T>) -> String {
    let values: Vec<_> = values.map(|value| value.to_string()).collect();
    format!("{{{}}}", values.join(","))
}

#[cfg(feature = "postgres")]
mod postgres {
    use sqlx::Type;
    use sqlx::encode::{Encode, IsNull};
    use sqlx::error::BoxDynError;
    use sqlx::postgres::types::Oid;
    use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, Postgres};

    use super::Argument;

    /// Microseconds from 1970 to 2000, the epoch of Postgres.
    const EPOCH: i64 = 946_684_800_000_000;

    impl Type<Postgres> for Argument<'_> {
        fn type_info() -> PgTypeInfo {
            <str as Type<Postgres>>::type_info()
        }
    }

    impl Encode<'_, Postgres> for Argument<'_> {
        fn produces(&self) -> Option<PgTypeInfo> {
            // From pg_type: built-in types have the same oids in each database.
            let oid = match self {
                Self::Text(_) => return None,
                Self::Uuid(_) => 2950,
                Self::Json(_) => 3802,
                Self::Time(_) => 1184,
                Self::Status(_) => 21,
                #[cfg(feature = "seal")]
                Self::Integers(_) => 1016,
                #[cfg(feature = "seal")]
                Self::Uuids(_) => 2951,
                #[cfg(feature = "seal")]
                Self::ByteStrings(_) => 1001,
            };
            Some(PgTypeInfo::with_oid(Oid(oid)))
        }

        fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
            match self {
                Self::Text(Some(text)) => buffer.extend_from_slice(text.as_bytes()),
                Self::Uuid(id) => buffer.extend_from_slice(id.as_bytes()),
                Self::Json(json) => {
                    // The version of jsonb's binary format.
                    buffer.push(1);
                    buffer.extend_from_slice(json.as_bytes());
                }
                Self::Time(Some(time)) => {
                    let since = time.as_microsecond() - EPOCH;
                    buffer.extend_from_slice(&since.to_be_bytes());
                }
                Self::Status(Some(status)) => {
                    buffer.extend_from_slice(&i16::try_from(*status)?.to_be_bytes());
                }
                #[cfg(feature = "seal")]
                Self::Integers(numbers) => {
                    array(buffer, 20, numbers.iter().map(|it| it.to_be_bytes()));
                }
                #[cfg(feature = "seal")]
                Self::Uuids(ids) => array(buffer, 2950, ids.iter()),
                #[cfg(feature = "seal")]
                Self::ByteStrings(strings) => array(buffer, 17, strings.iter()),
                Self::Text(None) | Self::Time(None) | Self::Status(None) => return Ok(IsNull::Yes),
            }
            Ok(IsNull::No)
        }
    }

    /// The binary format of an array with one dimension: the number of dimensions, whether it has
    /// NULLs, the oid of the elements' type, the length and the lower bound; then the length and
    /// the bytes of each element.
    #[cfg(feature = "seal")]
    fn array<T: AsRef<[u8]>>(
        buffer: &mut PgArgumentBuffer,
        element: i32,
        values: impl ExactSizeIterator<Item = T>,
    ) {
        for number in [1, 0, element, values.len() as i32, 1] {
            buffer.extend_from_slice(&number.to_be_bytes());
        }
        for value in values {
            let value = value.as_ref();
            buffer.extend_from_slice(&(value.len() as i32).to_be_bytes());
            buffer.extend_from_slice(value);
        }
    }
}
