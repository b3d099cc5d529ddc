use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::fmt::Hyphenated;

pub(super) const X_REQUEST_ID: &str = "x-request-id";
const NAME: HeaderName = HeaderName::from_static(X_REQUEST_ID);

/// The ids in a request's headers.
#[derive(Debug, Default)]
pub(super) struct RequestIds<'a> {
    first: Option<&'a HeaderValue>,
    has_several: bool,
}

impl<'a> RequestIds<'a> {
    #[inline]
    pub(super) fn add(&mut self, id: &'a HeaderValue) {
        self.has_several = self.first.is_some();
        self.first = self.first.or(Some(id));
    }

    /// The id, if there is exactly one and it is valid.
    #[inline]
    pub(super) fn only_valid(self) -> Option<HeaderValue> {
        let id = self.first.filter(|id| !self.has_several && is_valid(id));
        id.cloned()
    }
}

/// Generates an id and sets it on the request.
#[inline]
pub(super) fn generate(headers: &mut HeaderMap) -> HeaderValue {
    // A fast generator suffices: ids must be unique, not unguessable, as each response contains
    // one.
    let random = fastrand::u128(..).to_ne_bytes();
    let id = uuid::Builder::from_random_bytes(random).into_uuid();
    let mut text = [0; Hyphenated::LENGTH];
    id.hyphenated().encode_lower(&mut text);
    // `from_owner` makes the second clone, for the response, free of allocations.
    let text = Bytes::from_owner(text);
    // Cannot fail: a UUID's text is a valid header value.
    let id = HeaderValue::from_maybe_shared(text).unwrap_or(HeaderValue::from_static("-"));
    headers.insert(NAME, id.clone());
    id
}

/// Sets the request's id on the response.
#[inline]
pub(super) fn set_on_response(headers: &mut HeaderMap, id: HeaderValue) {
    headers.insert(NAME, id);
}

fn is_valid(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=128).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{NAME, RequestIds};

    fn only_valid(headers: &HeaderMap) -> Option<HeaderValue> {
        let mut ids = RequestIds::default();
        headers.get_all(NAME).iter().for_each(|id| ids.add(id));
        ids.only_valid()
    }

    #[test]
    fn a_valid_request_id_is_kept() {
        let id = HeaderValue::from_str(&"a".repeat(128)).unwrap();
        let headers = HeaderMap::from_iter([(NAME, id.clone())]);
        assert_eq!(only_valid(&headers), Some(id));
    }

    #[test]
    fn a_missing_invalid_or_ambiguous_request_id_is_replaced_by_a_uuid() {
        let long = "a".repeat(129);
        for ids in [
            vec![],
            vec![""],
            vec!["a b"],
            vec!["é"],
            vec![&long],
            vec!["a", "b"],
        ] {
            let mut headers = HeaderMap::new();
            for id in &ids {
                headers.append(NAME, HeaderValue::from_bytes(id.as_bytes()).unwrap());
            }
            assert_eq!(only_valid(&headers), None, "{ids:?}");
            let id = super::generate(&mut headers);
            uuid::Uuid::parse_str(id.to_str().unwrap()).unwrap();
            assert_eq!(headers.get_all(NAME).iter().collect::<Vec<_>>(), [&id]);
        }
    }
}
