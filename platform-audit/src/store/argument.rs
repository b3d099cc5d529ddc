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
        }
    }
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
                Self::Text(None) | Self::Time(None) | Self::Status(None) => return Ok(IsNull::Yes),
            }
            Ok(IsNull::No)
        }
    }
}
