use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use pin_project_lite::pin_project;

use super::decision::{self, Unanswered};
use crate::request::AuditedRequest;

pin_project! {
    /// The future of [`AuditService`](super::AuditService).
    pub struct AuditFuture<F> {
        #[pin]
        inner: F,
        // `None` once the layer has decided, or if another layer decides.
        request: Option<Arc<AuditedRequest>>,
        // True while `inner` is polled. If it stays true, `inner` has panicked.
        running: bool,
        // Records the attempt before the response is returned.
        recording: Option<BoxFuture<'static, Response>>,
    }

    impl<F> PinnedDrop for AuditFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(request) = this.request.take() {
                let ended = match *this.running {
                    true => Unanswered::Panicked,
                    false => Unanswered::Disconnected,
                };
                decision::unanswered(&request, ended);
            }
        }
    }
}

impl<F> AuditFuture<F> {
    pub(super) fn deciding(inner: F, request: Arc<AuditedRequest>) -> Self {
        Self {
            inner,
            request: Some(request),
            running: false,
            recording: None,
        }
    }

    pub(super) fn transparent(inner: F) -> Self {
        Self {
            inner,
            request: None,
            running: false,
            recording: None,
        }
    }
}

impl<F, R, E> Future for AuditFuture<F>
where
    F: Future<Output = Result<R, E>>,
    R: IntoResponse,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.recording.is_none() {
            *this.running = true;
            let polled = this.inner.poll(cx);
            *this.running = false;
            let result = ready!(polled);
            let Some(request) = this.request.take() else {
                return Poll::Ready(result.map(R::into_response));
            };
            let response = match result {
                Ok(response) => response.into_response(),
                // There is no response yet: an outer layer turns the error into one.
                Err(error) => {
                    decision::unanswered(&request, Unanswered::Failed);
                    return Poll::Ready(Err(error));
                }
            };
            match decision::decide(&request, response) {
                decision::Decision::Now(response) => return Poll::Ready(Ok(response)),
                decision::Decision::AfterRecording(recording) => *this.recording = Some(recording),
            }
        }
        match this.recording {
            Some(recording) => recording.as_mut().poll(cx).map(Ok),
            None => Poll::Pending,
        }
    }
}

impl<F> std::fmt::Debug for AuditFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditFuture").finish_non_exhaustive()
    }
}
