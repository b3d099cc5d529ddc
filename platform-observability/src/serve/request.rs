//! Counts requests until the response's body has ended, and aborts them with their connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::connection::AbortableListener;

/// The client's address, and the token that aborts the connection.
#[derive(Clone)]
pub(super) struct Peer {
    address: SocketAddr,
    abort: CancellationToken,
}

impl Connected<IncomingStream<'_, AbortableListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, AbortableListener>) -> Self {
        Self {
            address: *stream.remote_addr(),
            abort: stream.io().abort().clone(),
        }
    }
}

/// The middleware that counts each request as open until its body has ended, and aborts it with its
/// connection.
pub(super) async fn run(
    State(open_requests): State<TaskTracker>,
    ConnectInfo(Peer { address, abort }): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    request.extensions_mut().insert(ConnectInfo(address));
    let open = open_requests.token();
    tokio::select! {
        response = next.run(request) => {
            // An upgrade ends the HTTP request.
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                return response;
            }
            response.map(|inner| Body::new(AbortableBody {
                inner,
                abort: abort.cancelled_owned(),
                _open: open,
            }))
        }
        // The client does not receive this response, as the connection is aborted, too. But hyper
        // needs one: it does not poll the connection while it waits for a response and has the
        // next request in its buffer.
        () = abort.cancelled() => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

pin_project! {
    struct AbortableBody {
        #[pin]
        inner: Body,
        #[pin]
        abort: WaitForCancellationFutureOwned,
        _open: TaskTrackerToken,
    }
}

impl HttpBody for AbortableBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        if this.abort.poll(cx).is_ready() {
            let aborted = io::Error::from(io::ErrorKind::ConnectionAborted);
            return Poll::Ready(Some(Err(axum::Error::new(aborted))));
        }
        this.inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
