use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::fmt::Hyphenated;

const NAME: HeaderName = HeaderName::from_static("x-request-id");

/// The request's id, as it came if it is usable, else a new one, which the request gets.
pub(super) fn ensure(headers: &mut HeaderMap) -> HeaderValue {
    let mut given = headers.get_all(NAME).iter();
    if let (Some(id), None) = (given.next(), given.next())
        && is_usable(id)
    {
        return id.clone();
    }
    // To be told apart, not to be unguessable: it stands in every answer.
    let random = fastrand::u128(..).to_ne_bytes();
    let id = uuid::Builder::from_random_bytes(random).into_uuid();
    let mut text = [0; Hyphenated::LENGTH];
    id.hyphenated().encode_lower(&mut text);
    // Owned, as both the request and the response have it: to share it needs no more memory.
    let text = Bytes::from_owner(text);
    // A UUID's text is a header value.
    let id = HeaderValue::from_maybe_shared(text).unwrap_or(HeaderValue::from_static("-"));
    headers.insert(NAME, id.clone());
    id
}

/// Says the request's id on the response.
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

    use super::{NAME, ensure};

    #[test]
    fn a_usable_id_is_kept() {
        let id = HeaderValue::from_str(&"a".repeat(128)).unwrap();
        let mut headers = HeaderMap::from_iter([(NAME, id.clone())]);
        assert_eq!(ensure(&mut headers), id);
        assert_eq!(headers[NAME], id);
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
            let id = ensure(&mut headers);
            uuid::Uuid::parse_str(id.to_str().unwrap()).unwrap();
            assert_eq!(headers.get_all(NAME).iter().collect::<Vec<_>>(), [&id]);
        }
    }
}
