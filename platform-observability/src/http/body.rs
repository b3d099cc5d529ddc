//! The bodies of requests and responses, as far as they are measured.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

use super::exchange::{Exchange, Size, content_length};

pin_project! {
    /// The body of a response: that of the service, or, after a panic, a problem of ours
    /// (RFC 9457).
    #[derive(Debug)]
    #[project = Projected]
    pub enum HttpBody<B> {
        #[doc(hidden)]
        Service { #[pin] body: Option<B>, exchange: Option<Sending> },
        #[doc(hidden)]
        Problem { #[pin] body: Full<Bytes> },
    }

    impl<B> PinnedDrop for HttpBody<B> {
        fn drop(this: Pin<&mut Self>) {
            // What is dropped with the body still belongs to its request.
            if let Projected::Service { mut body, exchange: Some(sending) } = this.project()
                && !sending.exchange.has_ended()
            {
                sending.exchange.inside(|| body.set(None));
            }
        }
    }
}

/// An exchange whose response is on its way.
#[derive(Debug)]
pub struct Sending {
    exchange: Exchange,
    /// How many bytes the response announced.
    announced: Option<u64>,
    /// Whether the body knows its size, and so is ready: nothing of the service runs for it.
    is_ready: bool,
}

impl<B: Body> HttpBody<B> {
    /// The response of the service, whose end ends the exchange.
    pub(super) fn of_service(
        response: Response<B>,
        mut exchange: Exchange,
        method: &Method,
    ) -> Response<Self> {
        let (parts, body) = response.into_parts();
        let status = parts.status;
        // Such responses have no body, whatever the service made (RFC 9110, 6.4.1).
        let is_bare = *method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let exchange = if is_bare || body.is_end_stream() {
            exchange.completed();
            None
        } else {
            let announced = content_length(&parts.headers);
            let is_ready = body.size_hint().exact().is_some();
            Some(Sending {
                exchange,
                announced,
                is_ready,
            })
        };
        let body = Self::Service {
            body: Some(body),
            exchange,
        };
        Response::from_parts(parts, body)
    }

    /// What a panic is answered with.
    pub(super) fn problem() -> Response<Self> {
        const PROBLEM: &[u8] =
            br#"{"type":"about:blank","title":"Internal Server Error","status":500}"#;
        let mut response = Response::new(Self::Problem {
            body: Full::new(Bytes::from_static(PROBLEM)),
        });
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

impl<B: Body<Data = Bytes>> Body for HttpBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project() {
            Projected::Problem { body } => body.poll_frame(cx).map_err(|never| match never {}),
            Projected::Service { mut body, exchange } => {
                let Some(inner) = body.as_mut().as_pin_mut() else {
                    return Poll::Ready(None);
                };
                let Some(sending) = exchange else {
                    return inner.poll_frame(cx);
                };
                let frame = ready!(if sending.is_ready {
                    sending.exchange.run_outside(|| inner.poll_frame(cx))
                } else {
                    sending.exchange.run(|| inner.poll_frame(cx))
                });
                let mut complete = frame.is_none();
                match &frame {
                    Some(Ok(frame)) => {
                        if let Some(data) = frame.data_ref() {
                            let sent = sending.exchange.sent(data.remaining());
                            // The server may not ask again then.
                            complete = sending.announced.is_some_and(|bytes| sent >= bytes);
                        }
                        complete |= body
                            .as_ref()
                            .as_pin_ref()
                            .is_some_and(|b| b.is_end_stream());
                    }
                    Some(Err(_)) => sending.exchange.failed(std::any::type_name::<B::Error>()),
                    None => {}
                }
                if complete {
                    sending.exchange.completed();
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Service { body, .. } => body.as_ref().is_none_or(Body::is_end_stream),
            Self::Problem { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Service { body, .. } => body
                .as_ref()
                .map_or_else(|| SizeHint::with_exact(0), Body::size_hint),
            Self::Problem { body } => body.size_hint(),
        }
    }
}

/// How large the body of `request` is: as its `Content-Length` says, or else as far as it is
/// read, which needs a body of axum's.
pub(super) fn request_size<B: 'static>(request: &mut Request<B>) -> Size {
    if let Some(length) = content_length(request.headers()) {
        return Size::Known(length);
    }
    let request: &mut dyn Any = request;
    let Some(request) = request.downcast_mut::<Request<axum::body::Body>>() else {
        return Size::Unknown;
    };
    if request.body().is_end_stream() {
        // There is none.
        return Size::Unknown;
    }
    let bytes = Arc::new(AtomicU64::new(0));
    let body = std::mem::take(request.body_mut());
    *request.body_mut() = axum::body::Body::new(Counted {
        body,
        bytes: Arc::clone(&bytes),
    });
    Size::Counted(bytes)
}

/// The body of a request that does not say its length.
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
