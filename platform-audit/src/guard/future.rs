use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use pin_project_lite::pin_project;

use super::decision;
use crate::request::AuditedRequest;

pin_project! {
    /// The guarded request's future.
    pub struct GuardFuture<F> {
        #[pin]
        inner: F,
        // Gone once the request was judged, or where another guard judges.
        request: Option<Arc<AuditedRequest>>,
        // The attempt being recorded before the answer leaves.
        recording: Option<BoxFuture<'static, Response>>,
    }

    impl<F> PinnedDrop for GuardFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            if let Some(request) = this.project().request.take() {
                decision::dropped(&request);
            }
        }
    }
}

impl<F> GuardFuture<F> {
    pub(super) fn guarding(inner: F, request: Arc<AuditedRequest>) -> Self {
        Self {
            inner,
            request: Some(request),
            recording: None,
        }
    }

    pub(super) fn transparent(inner: F) -> Self {
        Self {
            inner,
            request: None,
            recording: None,
        }
    }
}

impl<F, R, E> Future for GuardFuture<F>
where
    F: Future<Output = Result<R, E>>,
    R: IntoResponse,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.recording.is_none() {
            let response = match ready!(this.inner.poll(cx)) {
                Ok(response) => response.into_response(),
                // Nothing to judge, and nothing to answer with: what turns the error into an
                // answer is outside.
                Err(error) => return Poll::Ready(Err(error)),
            };
            let Some(request) = this.request.take() else {
                return Poll::Ready(Ok(response));
            };
            match decision::judge(&request, response) {
                decision::Judged::Now(response) => return Poll::Ready(Ok(response)),
                decision::Judged::AfterRecording(recording) => *this.recording = Some(recording),
            }
        }
        match this.recording {
            Some(recording) => recording.as_mut().poll(cx).map(Ok),
            None => Poll::Pending,
        }
    }
}

impl<F> std::fmt::Debug for GuardFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuardFuture").finish_non_exhaustive()
    }
}
