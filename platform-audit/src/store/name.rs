use crate::error::Error;

/// The audit schema of `service`, or on SQLite the prefix of its tables: `given`, or
/// `<service>_audit`.
pub(crate) fn schema_name(service: &str, given: Option<&str>) -> Result<String, Error> {
    match given {
        Some(schema) if is_name(schema, 48, |b| b == b'_') => Ok(schema.to_owned()),
        Some(schema) => Err(Error::InvalidSchema(schema.to_owned())),
        None if is_name(service, 40, |b| matches!(b, b'_' | b'-')) => {
            Ok(format!("{}_audit", service.replace('-', "_")))
        }
        None => Err(Error::InvalidService(service.to_owned())),
    }
}

/// Whether `name` is a plain identifier, valid in SQL without quotes.
fn is_name(name: &str, longest: usize, joint: impl Fn(u8) -> bool) -> bool {
    name.len() <= longest
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || joint(b))
}
