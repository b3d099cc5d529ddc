//! The bodies of requests and responses, as far as they are measured.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::BoxError;
use bytes::{Buf, Bytes};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::exchange::{Exchange, content_length};

pin_project! {
    /// The body of a service's response, whose end ends the exchange.
    #[project = Projected]
    struct Measured<B> {
        #[pin]
        body: Option<B>,
        exchange: Exchange,
        // How many bytes the response announced, or the body says it has.
        announced: Option<u64>,
        // Whether the body knows its size, and so is ready: nothing of the service runs for it.
        is_ready: bool,
    }

    impl<B> PinnedDrop for Measured<B> {
        fn drop(this: Pin<&mut Self>) {
            // What is dropped with the body still belongs to its request.
            let mut this = this.project();
            if !this.exchange.has_ended() {
                this.exchange.inside(|| this.body.set(None));
            }
        }
    }
}

/// The response of the service, the end of which ends the exchange; it takes it if that is not yet.
pub(super) fn of_service<B>(
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
    // Such responses have no body, whatever the service made (RFC 9110, 6.4.1).
    let is_bare = is_head
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let size = body.size_hint().exact();
    let is_over = is_bare || body.is_end_stream();
    let goes_on = exchange.take_if(|exchange| {
        let sent = match size {
            _ if is_over => 0,
            Some(bytes) if !exchange.is_watched() => bytes,
            // A server does not ask for a body that was announced to be empty.
            Some(0) => 0,
            None if content_length(&parts.headers) == Some(0) => 0,
            _ => return true,
        };
        exchange.sent(sent);
        exchange.completed();
        false
    });
    let body = match goes_on {
        None => axum::body::Body::new(body),
        Some(exchange) => axum::body::Body::new(Measured {
            body: Some(body),
            announced: content_length(&parts.headers).or(size),
            is_ready: size.is_some(),
            exchange,
        }),
    };
    Response::from_parts(parts, body)
}

/// What a panic is answered with (RFC 9457).
pub(super) const PROBLEM: &[u8] =
    br#"{"type":"about:blank","title":"Internal Server Error","status":500}"#;

/// [`PROBLEM`] as a response.
pub(super) fn problem() -> Response<axum::body::Body> {
    let mut response = Response::new(axum::body::Body::from(Bytes::from_static(PROBLEM)));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let json = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

impl<B: Body<Data = Bytes>> Body for Measured<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Projected {
            mut body,
            exchange,
            announced,
            is_ready,
        } = self.project();
        let Some(inner) = body.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        if exchange.has_ended() {
            return inner.poll_frame(cx);
        }
        let frame = ready!(if *is_ready {
            exchange.run_outside(|| inner.poll_frame(cx))
        } else {
            exchange.run(|| inner.poll_frame(cx))
        });
        let mut complete = frame.is_none();
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    let sent = exchange.sent(data.remaining() as u64);
                    complete = announced.is_some_and(|bytes| sent >= bytes);
                }
                // The server may not ask again then, whatever the body says.
                complete |= frame.is_trailers();
                complete |= body
                    .as_ref()
                    .as_pin_ref()
                    .is_some_and(|body| body.is_end_stream());
            }
            Some(Err(_)) => exchange.failed(std::any::type_name::<B::Error>()),
            None => {}
        }
        if complete {
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

/// How much of the body of `request` will have been read, which needs a body of axum's; none if there
/// is no body. What the client `announced` is not asked: it may send less, and lie.
pub(super) fn request_size<B: 'static>(
    request: &mut Request<B>,
    announced: Option<u64>,
) -> Option<Arc<AtomicU64>> {
    let request: &mut dyn Any = request;
    let request = request.downcast_mut::<Request<axum::body::Body>>()?;
    let is_empty = request.body().is_end_stream();
    if is_empty && announced.is_none() {
        return None;
    }
    let bytes = Arc::new(AtomicU64::new(0));
    if !is_empty {
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = axum::body::Body::new(Counted {
            body,
            bytes: Arc::clone(&bytes),
        });
    }
    Some(bytes)
}

/// The body of a request.
struct Counted {
    body: axum::body::Body,
    bytes: Arc<AtomicU64>,
}

impl Body for Counted {
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
