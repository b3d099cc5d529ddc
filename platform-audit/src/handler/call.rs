use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;

use crate::action::AuditedAction;
use crate::core::Core;
use crate::operation::{Operation, TraceIds};
use crate::record::Actor;
use crate::request::problem;
use crate::request::{AuditedRequest, Handle};

/// One call of the audited handler with the action `M`: its actor, its reason and its request.
///
/// It is the first argument of the function that `#[audited]` generates. In a request, it is
/// extracted from the request; a test that calls the handler as a function passes the result of
/// [`Audit::call`](crate::Audit::call).
pub struct Call<M> {
    pub(super) request: Arc<AuditedRequest>,
    pub(super) operation: Operation,
    action: PhantomData<fn() -> M>,
}

impl<M> std::fmt::Debug for Call<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

impl<M: AuditedAction> Call<M> {
    pub(crate) fn without_request(core: Arc<Core>, actor: Actor) -> Self {
        let request = AuditedRequest::without_request(core);
        let mut operation = request.operation(&M::SPEC, actor, TraceIds::current());
        operation.request = None;
        Self {
            request: Arc::new(request),
            operation,
            action: PhantomData,
        }
    }
}

impl<S: Sync, M: AuditedAction> FromRequestParts<S> for Call<M> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Response> {
        let spec = M::SPEC;
        let Some(Handle(request)) = parts.extensions.get::<Handle>().cloned() else {
            tracing::error!(
                action = spec.action,
                "an audited handler was called without the audit layer: add `.layer(audit.layer())` to its router"
            );
            return Err(problem::misconfigured());
        };
        request.learn_route(&parts.extensions);
        let trace = TraceIds::current();
        let actor = request.actor(parts);
        request.reached(spec, actor.clone(), trace.clone());

        let actor = match actor {
            Some(actor) => actor,
            None if spec.actor_optional => Actor::anonymous(),
            None if request.core.observe_only => {
                tracing::warn!(
                    action = spec.action,
                    route = request.route(),
                    "a request without an actor reached an audited handler; because of observe_only, it is handled as anonymous instead of being refused: insert an Actor in the authentication middleware"
                );
                Actor::anonymous()
            }
            None => return Err(problem::no_actor()),
        };
        let mut operation = request.operation(&spec, actor, trace);
        // The header has a single value (RFC 9110, section 5.3), and the record has room for one
        // reason only, so several are refused.
        let mut reasons = parts.headers.get_all(problem::REASON).iter();
        let reason = reasons.next();
        if reasons.next().is_some() {
            return Err(problem::several_reasons());
        }
        operation.reason = reason
            .map(|reason| String::from_utf8_lossy(reason.as_bytes()).trim().to_owned())
            .filter(|reason| !reason.is_empty());
        if spec.reason_required && operation.reason.is_none() {
            return Err(problem::no_reason());
        }
        Ok(Self {
            request,
            operation,
            action: PhantomData,
        })
    }
}
