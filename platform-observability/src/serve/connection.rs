//! Connections that can be aborted. axum's server has no handle to its connections' tasks.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A listener whose connections are aborted when `abort` is cancelled.
pub(super) struct AbortableListener {
    pub(super) listener: TcpListener,
    pub(super) abort: CancellationToken,
    pub(super) open_connections: TaskTracker,
}

impl Listener for AbortableListener {
    type Io = AbortableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (AbortableStream, SocketAddr) {
        // The trait's method retries after errors, such as too many open files.
        let (stream, client) = Listener::accept(&mut self.listener).await;
        // A child token, so that connections do not contend for one lock.
        let abort = self.abort.child_token();
        let stream = AbortableStream {
            stream,
            // Separate futures, as two tasks may read and write.
            abort_read: Box::pin(abort.clone().cancelled_owned()),
            abort_write: Box::pin(abort.clone().cancelled_owned()),
            abort,
            _open: self.open_connections.token(),
        };
        (stream, client)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

pub(super) struct AbortableStream {
    stream: TcpStream,
    abort_read: Pin<Box<WaitForCancellationFutureOwned>>,
    abort_write: Pin<Box<WaitForCancellationFutureOwned>>,
    abort: CancellationToken,
    _open: TaskTrackerToken,
}

impl AbortableStream {
    pub(super) fn abort(&self) -> &CancellationToken {
        &self.abort
    }
}

fn aborted<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
}

impl AsyncRead for AbortableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.abort_read.as_mut().poll(cx).is_ready() {
            return aborted();
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for AbortableStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.abort_write.as_mut().poll(cx).is_ready() {
            return aborted();
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.abort_write.as_mut().poll(cx).is_ready() {
            return aborted();
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
