//! Ends the exchange at the end of the response's body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::BoxError;
use bytes::{Buf, Bytes};
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::exchange::Exchange;
use super::request_body::content_length;

pin_project! {
    /// A response body whose end ends the exchange.
    #[project = ResponseBodyProjection]
    struct ResponseBody<B> {
        #[pin]
        body: Option<B>,
        exchange: Exchange,
        // The length that the response's head or the body's size hint announces.
        content_length: Option<u64>,
        // Whether the body knows its size, and so is in memory: it runs no code of the service.
        is_buffered: bool,
    }

    impl<B> PinnedDrop for ResponseBody<B> {
        fn drop(this: Pin<&mut Self>) {
            // The body's destructor belongs to the request's span.
            let mut this = this.project();
            if !this.exchange.has_ended() {
                this.exchange.in_span(|| this.body.set(None));
            }
        }
    }
}

/// Ends the exchange now if no part of the body remains to be observed. Otherwise takes the
/// exchange out of the option, and ends it with the body.
pub(super) fn instrument<B>(
    response: Response<B>,
    exchange: &mut Option<Exchange>,
    is_head: bool,
) -> Response<axum::body::Body>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (parts, body) = response.into_parts();
    let status = parts.status;
    // These responses have no body, whatever the service returned (RFC 9110, 6.4.1).
    let has_no_body = is_head
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let size = body.size_hint().exact();
    let is_complete = has_no_body || body.is_end_stream();
    let remaining = exchange.take_if(|exchange| {
        let sent = match size {
            _ if is_complete => 0,
            Some(bytes) if !exchange.is_observed() => bytes,
            // Servers do not poll a body whose announced length is 0.
            Some(0) => 0,
            None if content_length(&parts.headers) == Some(0) => 0,
            _ => return true,
        };
        exchange.bytes_sent(sent);
        exchange.completed();
        false
    });
    let body = match remaining {
        None => axum::body::Body::new(body),
        Some(exchange) => axum::body::Body::new(ResponseBody {
            body: Some(body),
            content_length: content_length(&parts.headers).or(size),
            is_buffered: size.is_some(),
            exchange,
        }),
    };
    Response::from_parts(parts, body)
}

/// The body of the response to a panic (RFC 9457).
pub(super) const PROBLEM: &[u8] =
    br#"{"type":"about:blank","title":"Internal Server Error","status":500}"#;

/// The response to a panic.
pub(super) fn problem() -> Response<axum::body::Body> {
    let mut response = Response::new(axum::body::Body::from(Bytes::from_static(PROBLEM)));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let json = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let ResponseBodyProjection {
            mut body,
            exchange,
            content_length,
            is_buffered,
        } = self.project();
        let Some(inner) = body.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        if exchange.has_ended() {
            return inner.poll_frame(cx);
        }
        let frame = ready!(if *is_buffered {
            exchange.run_outside_span(|| inner.poll_frame(cx))
        } else {
            exchange.run(|| inner.poll_frame(cx))
        });
        let mut is_complete = frame.is_none();
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    let sent = exchange.bytes_sent(data.remaining() as u64);
                    is_complete = content_length.is_some_and(|bytes| sent >= bytes);
                }
                // The server may not poll again after these, whatever the body reports.
                is_complete |= frame.is_trailers();
                is_complete |= body
                    .as_ref()
                    .as_pin_ref()
                    .is_some_and(|body| body.is_end_stream());
            }
            Some(Err(_)) => exchange.failed(std::any::type_name::<B::Error>()),
            None => {}
        }
        if is_complete {
            exchange.completed();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
