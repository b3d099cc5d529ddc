use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header that carries a request's id in both directions.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const LONGEST: usize = 128;

/// The request's id; a new one, put into the headers for what is inside, where there is none that
/// could be logged as it is.
pub(super) fn take_or_make(headers: &mut HeaderMap) -> HeaderValue {
    if let Some(id) = headers.get(&REQUEST_ID)
        && (1..=LONGEST).contains(&id.len())
        && id.as_bytes().iter().all(u8::is_ascii_graphic)
    {
        return id.clone();
    }
    let mut text = Uuid::encode_buffer();
    let text = Uuid::new_v4().hyphenated().encode_lower(&mut text);
    let id = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none"));
    headers.insert(REQUEST_ID, id.clone());
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_be_logged_is_kept_and_any_other_replaced() {
        let long = "x".repeat(129);
        for (given, kept) in [
            ("req-1", true),
            ("with space", false),
            ("", false),
            (long.as_str(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(given).unwrap());
            let id = take_or_make(&mut headers);
            assert_eq!(id == given, kept, "{given}");
            assert_eq!(headers[REQUEST_ID], id);
        }
        assert_eq!(take_or_make(&mut HeaderMap::new()).len(), 36);
    }
}
