//! Interprets an endpoint's response to a batch.

use http::{Response, StatusCode};
use opentelemetry_http::Bytes;
use prost::Message as _;

use super::backoff::retry_after;

/// `Export*ServiceResponse`, whose fields have the same tags for all signals.
#[derive(Clone, PartialEq, prost::Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
}

/// The number of items that the endpoint rejected while it accepted the others; 0 if the body
/// cannot be decoded.
pub(super) fn rejected_items(response: &Response<Bytes>) -> u64 {
    let message = ExportResponse::decode(response.body().as_ref()).unwrap_or_default();
    let rejected = message.partial_success.unwrap_or_default().rejected;
    u64::try_from(rejected).unwrap_or(0)
}

/// Whether OTLP's specification allows a retry ("Retryable Response Codes").
pub(super) fn is_retryable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// Whether a spooled batch is kept after a failure. It is not if the status means that the batch
/// itself is invalid. A wrong token or dataset can be corrected; and gateways respond with 500, 52x
/// or a redirect while the endpoint behind them is unavailable.
pub(super) fn keeps_spooled(status: StatusCode) -> bool {
    let concerns_endpoint = matches!(status.as_u16(), 401 | 403 | 404 | 408 | 425 | 429);
    concerns_endpoint || status.is_server_error() || status.is_redirection()
}

/// Whether the batch may have caused the failure: a collector responds with 500 if one of its
/// components rejects a batch permanently. The status codes of gateways, and `Retry-After`, exclude
/// this.
pub(super) fn may_be_caused_by_batch(response: &Response<Bytes>) -> bool {
    let is_gateways = matches!(response.status().as_u16(), 502..=504 | 520..=530);
    let is_endpoints = response.status().is_server_error() && !is_gateways;
    is_endpoints && retry_after(response.headers()).is_none()
}

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;
    use http::{HeaderValue, Response, StatusCode};
    use opentelemetry_http::Bytes;

    use super::may_be_caused_by_batch;

    #[test]
    fn only_errors_that_no_gateway_sends_may_be_caused_by_the_batch() {
        for (status, retry_after, expected) in [
            (500, None, true),
            (501, None, true),
            (500, Some("1"), false),
            (502, None, false),
            (503, None, false),
            (504, None, false),
            (522, None, false),
            (302, None, false),
            (408, None, false),
        ] {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some(seconds) = retry_after {
                let seconds = HeaderValue::from_static(seconds);
                response.headers_mut().insert(RETRY_AFTER, seconds);
            }
            let is_possible = may_be_caused_by_batch(&response);
            assert_eq!(is_possible, expected, "{status} {retry_after:?}");
        }
    }
}
