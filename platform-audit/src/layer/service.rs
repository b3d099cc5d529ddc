use std::sync::Arc;
use std::task::{Context, Poll};

use axum::response::{IntoResponse, Response};
use http::Request;
use tower_service::Service;

use super::AuditFuture;
use crate::core::Core;
use crate::request::{AuditedRequest, Handle, State};

/// The service of the [audit layer](crate::layer) around `S`.
#[derive(Clone, Debug)]
pub struct AuditService<S> {
    pub(super) inner: S,
    pub(super) core: Arc<Core>,
}

impl<S, B> Service<Request<B>> for AuditService<S>
where
    S: Service<Request<B>>,
    S::Response: IntoResponse,
{
    type Response = Response;
    type Error = S::Error;
    type Future = AuditFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let Some(Handle(outer)) = request.extensions().get::<Handle>() {
            // Of two layers of one `Audit`, only the outer one decides.
            if Arc::ptr_eq(&outer.core, &self.core) {
                return AuditFuture::transparent(self.inner.call(request));
            }
            // The outer layer belongs to another `Audit` with another store, so this layer decides
            // instead.
            *outer.state() = State::Elsewhere;
        }
        let (mut parts, body) = request.into_parts();
        let audited = Arc::new(AuditedRequest::new(Arc::clone(&self.core), &parts));
        if !parts.method.is_safe() {
            audited.note_actor(&parts);
        }
        parts.extensions.insert(Handle(Arc::clone(&audited)));
        let request = Request::from_parts(parts, body);
        AuditFuture::deciding(self.inner.call(request), audited)
    }
}
