//! Measures how much of a request's body is read.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue, Request, header};
use http_body::{Body as _, Frame, SizeHint};

/// Starts to count the bytes that are read from the body of `request`, if that is axum's. Returns
/// `None` if there is no body. The announced length is not used: a client may send less.
pub(super) fn count_bytes<A: 'static>(
    request: &mut Request<A>,
    content_length: Option<u64>,
) -> Option<Arc<AtomicU64>> {
    let request: &mut dyn Any = request;
    let request = request.downcast_mut::<Request<Body>>()?;
    let is_empty = request.body().is_end_stream();
    if is_empty && content_length.is_none() {
        return None;
    }
    let bytes = Arc::new(AtomicU64::new(0));
    if !is_empty {
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::new(CountingBody {
            body,
            bytes: Arc::clone(&bytes),
        });
    }
    Some(bytes)
}

struct CountingBody {
    body: Body,
    bytes: Arc<AtomicU64>,
}

impl http_body::Body for CountingBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let bytes = u64::try_from(data.remaining()).unwrap_or(u64::MAX);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The value of the `Content-Length` header.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH).and_then(parse_length)
}

pub(super) fn parse_length(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}
