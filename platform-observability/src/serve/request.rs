//! Requests that are counted until their response's body has ended, and end when they are cut.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower_service::Service;

use super::connection::Cuttable;

/// How many there are: requests whose responses have not ended, connections that are open.
#[derive(Clone, Debug, Default)]
pub(super) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(super) fn now(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(super) fn one(&self) -> Counted {
        self.0.fetch_add(1, Ordering::SeqCst);
        Counted(self.clone())
    }
}

/// One of them, until it is dropped.
pub(super) struct Counted(Count);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Does what `Router::into_make_service_with_connect_info::<SocketAddr>` does, which only takes
/// axum's own listeners.
#[derive(Clone)]
pub(super) struct Connected {
    pub(super) router: Router,
    pub(super) unfinished: Count,
}

impl Service<IncomingStream<'_, Cuttable>> for Connected {
    type Response = Connection;
    type Error = Infallible;
    type Future = Ready<Result<Connection, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, stream: IncomingStream<'_, Cuttable>) -> Self::Future {
        ready(Ok(Connection {
            router: self.router.clone(),
            unfinished: self.unfinished.clone(),
            client: *stream.remote_addr(),
            cut: stream.io().cut().clone(),
        }))
    }
}

/// The service of one connection.
#[derive(Clone)]
pub(super) struct Connection {
    router: Router,
    unfinished: Count,
    client: SocketAddr,
    cut: CancellationToken,
}

impl Service<Request> for Connection {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.router, cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        request.extensions_mut().insert(ConnectInfo(self.client));
        let counted = self.unfinished.one();
        let response = self.router.call(request);
        let cut = self.cut.clone();
        Box::pin(async move {
            tokio::select! {
                response = response => {
                    let response = response?;
                    // An upgrade is the end of the request as HTTP has it.
                    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                        return Ok(response);
                    }
                    Ok(response.map(|inner| Body::new(CountedBody {
                        inner,
                        cut: cut.cancelled_owned(),
                        _counted: counted,
                    })))
                }
                // No one reads it: the connection is cut, too. But hyper may not notice as long
                // as it waits for a response and has the next request in its buffer.
                () = cut.cancelled() => Ok(StatusCode::SERVICE_UNAVAILABLE.into_response()),
            }
        })
    }
}

pin_project! {
    struct CountedBody {
        #[pin]
        inner: Body,
        #[pin]
        cut: WaitForCancellationFutureOwned,
        _counted: Counted,
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        if this.cut.poll(cx).is_ready() {
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
