use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

/// The header.
pub(super) const X_REQUEST_ID: &str = "x-request-id";
const NAME: HeaderName = HeaderName::from_static(X_REQUEST_ID);

/// The ids that came with a request.
#[derive(Debug, Default)]
pub(super) struct Given<'a> {
    first: Option<&'a HeaderValue>,
    are_several: bool,
}

impl<'a> Given<'a> {
    #[inline]
    pub(super) fn add(&mut self, id: &'a HeaderValue) {
        self.are_several = self.first.is_some();
        self.first = self.first.or(Some(id));
    }

    /// The only one, unless it is unusable.
    #[inline]
    pub(super) fn usable(self) -> Option<HeaderValue> {
        let id = self.first.filter(|id| !self.are_several && is_usable(id));
        id.cloned()
    }
}

/// A new id, which the request gets.
#[inline]
pub(super) fn make(headers: &mut HeaderMap) -> HeaderValue {
    // To be told apart, not to be unguessable: it stands in every answer.
    let random = fastrand::u128(..).to_ne_bytes();
    let id = uuid::Builder::from_random_bytes(random).into_uuid();
    let text = hyphenated(id);
    // Owned, as both the request and the response have it: to share it needs no more memory.
    let text = Bytes::from_owner(text);
    // A UUID's text is a header value.
    let id = HeaderValue::from_maybe_shared(text).unwrap_or(HeaderValue::from_static("-"));
    headers.insert(NAME, id.clone());
    id
}

/// As uuid's own, in a third of the instructions.
#[inline]
fn hyphenated(id: Uuid) -> [u8; Hyphenated::LENGTH] {
    let mut digits = [0; 32];
    // There is room for them, so this cannot fail.
    let _ = hex::encode_to_slice(id.as_bytes(), &mut digits);
    let mut text = [b'-'; Hyphenated::LENGTH];
    text[..8].copy_from_slice(&digits[..8]);
    text[9..13].copy_from_slice(&digits[8..12]);
    text[14..18].copy_from_slice(&digits[12..16]);
    text[19..23].copy_from_slice(&digits[16..20]);
    text[24..].copy_from_slice(&digits[20..]);
    text
}

/// Says the request's id on the response.
#[inline]
pub(super) fn answer(headers: &mut HeaderMap, id: HeaderValue) {
    headers.insert(NAME, id);
}

fn is_usable(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=128).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{Given, NAME, hyphenated};

    fn usable(headers: &HeaderMap) -> Option<HeaderValue> {
        let mut given = Given::default();
        headers.get_all(NAME).iter().for_each(|id| given.add(id));
        given.usable()
    }

    #[test]
    fn a_usable_id_is_kept() {
        let id = HeaderValue::from_str(&"a".repeat(128)).unwrap();
        let headers = HeaderMap::from_iter([(NAME, id.clone())]);
        assert_eq!(usable(&headers), Some(id));
    }

    #[test]
    fn an_id_is_written_as_uuid_writes_it() {
        let id = uuid::uuid!("01234567-89ab-4cde-b0f1-23456789abcd");
        assert_eq!(hyphenated(id), id.to_string().as_bytes());
    }

    #[test]
    fn any_other_is_replaced() {
        let long = "a".repeat(129);
        for given in [
            vec![],
            vec![""],
            vec!["a b"],
            vec!["é"],
            vec![&long],
            vec!["a", "b"],
        ] {
            let mut headers = HeaderMap::new();
            for id in &given {
                headers.append(NAME, HeaderValue::from_bytes(id.as_bytes()).unwrap());
            }
            assert_eq!(usable(&headers), None, "{given:?}");
            let id = super::make(&mut headers);
            uuid::Uuid::parse_str(id.to_str().unwrap()).unwrap();
            assert_eq!(headers.get_all(NAME).iter().collect::<Vec<_>>(), [&id]);
        }
    }
}
