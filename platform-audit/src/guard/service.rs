use std::sync::Arc;
use std::task::{Context, Poll};

use axum::response::{IntoResponse, Response};
use http::Request;
use tower_service::Service;

use super::GuardFuture;
use crate::context::Core;
use crate::request::{AuditedRequest, Handle};

/// The [request guard](crate::guard) around `S`.
#[derive(Clone, Debug)]
pub struct AuditGuard<S> {
    pub(super) inner: S,
    pub(super) core: Arc<Core>,
}

impl<S, B> Service<Request<B>> for AuditGuard<S>
where
    S: Service<Request<B>>,
    S::Response: IntoResponse,
{
    type Response = Response;
    type Error = S::Error;
    type Future = GuardFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Under another guard the outer one judges; two would each miss what the other saw.
        if request.extensions().get::<Handle>().is_some() {
            return GuardFuture::transparent(self.inner.call(request));
        }
        let (mut parts, body) = request.into_parts();
        let audited = Arc::new(AuditedRequest::new(
            Arc::clone(&self.core),
            &parts.method,
            &parts.uri,
            &parts.headers,
            &parts.extensions,
        ));
        if !parts.method.is_safe() {
            audited.note_actor(&parts);
        }
        parts.extensions.insert(Handle(Arc::clone(&audited)));
        let request = Request::from_parts(parts, body);
        GuardFuture::guarding(self.inner.call(request), audited)
    }
}
