use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

/// The headers of a request whose protobuf body this crate encodes, with its `Content-Encoding`.
pub(super) fn protobuf_headers(encoding: Option<&'static str>) -> HeaderMap {
    let protobuf = HeaderValue::from_static("application/x-protobuf");
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, protobuf)]);
    headers.extend(encoding.map(|encoding| (CONTENT_ENCODING, HeaderValue::from_static(encoding))));
    headers
}
