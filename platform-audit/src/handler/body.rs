//! Runs a handler's body until it ends, or until its client has disconnected.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use opentelemetry::trace::FutureExt as _;
use tokio::sync::watch;
use tracing::Instrument;
use uuid::Uuid;

use crate::rate_limit::LimitKey;
use crate::record::Outcome;
use crate::request::problem;
use crate::request::{AuditedRequest, Caller, State};

/// Notifies the running operation when the handler's future is dropped.
struct Waiting(watch::Sender<Caller>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.send_if_modified(|caller| {
            let waits = *caller == Caller::Waiting;
            if waits {
                *caller = Caller::Gone;
            }
            waits
        });
    }
}

/// Runs `operation` to its end, even if the client disconnects, in the caller's span and
/// OpenTelemetry context.
pub(super) async fn detach_on_drop<O>(
    request: &Arc<AuditedRequest>,
    limit: Option<Arc<LimitKey>>,
    operation: impl FnOnce(watch::Receiver<Caller>) -> O,
) -> Response
where
    O: Future<Output = Response> + Send + 'static,
{
    let (sender, caller) = watch::channel(Caller::Waiting);
    let _waiting = Waiting(sender.clone());
    *request.state() = State::Running {
        caller: sender,
        limit,
    };
    let operation = operation(caller)
        .instrument(tracing::Span::current())
        .with_context(opentelemetry::Context::current());
    crate::transaction::detach_on_drop(&request.core.tasks, operation).await
}

/// Why a body did not succeed.
pub(super) struct Failure {
    pub(super) outcome: Outcome,
    /// The status that the client received, if any.
    pub(super) status: Option<u16>,
    /// The attempt's `error_type`: the status, or a word such as `panic`.
    pub(super) error_type: String,
    /// The handler's own response, if it returned one.
    response: Option<Response>,
}

impl Failure {
    fn new(outcome: Outcome, status: Option<u16>, error_type: &str) -> Self {
        Self {
            outcome,
            status,
            error_type: error_type.to_owned(),
            response: None,
        }
    }

    /// The response to the client, if it still waits for one.
    pub(super) fn into_response(self, record_id: Option<Uuid>) -> Response {
        match self.response {
            Some(response) => response,
            None if self.outcome == Outcome::Panicked => problem::panicked(record_id),
            None => problem::timed_out(record_id),
        }
    }
}

/// Runs `body` until it ends, or until the caller has been gone for longer than `grace`. If the
/// request already has a response, `body` is not started, which saves an overloaded service useless
/// work.
///
/// Returns a successful response, or the failure.
pub(super) async fn run_body<R: IntoResponse>(
    body: impl Future<Output = R>,
    caller: &mut watch::Receiver<Caller>,
    grace: Duration,
) -> Result<Response, Failure> {
    let body = AssertUnwindSafe(async { body.await.into_response() }).catch_unwind();
    let ended = tokio::select! {
        biased;
        status = abandoned(caller, grace) => {
            let error_type = if status.is_some() { "timeout" } else { "client_disconnected" };
            return Err(Failure::new(Outcome::TimedOut, status, error_type));
        }
        ended = body => ended,
    };
    let Ok(response) = ended else {
        return Err(Failure::new(Outcome::Panicked, Some(500), "panic"));
    };
    let status = response.status();
    match Outcome::from_status(status) {
        Outcome::Success => Ok(response),
        outcome => Err(Failure {
            response: Some(response),
            ..Failure::new(outcome, Some(status.as_u16()), status.as_str())
        }),
    }
}

/// Waits until the caller has been gone for longer than `grace`. Returns the status that the client
/// received instead of the handler's, if any.
async fn abandoned(caller: &mut watch::Receiver<Caller>, grace: Duration) -> Option<u16> {
    let gone = caller
        .wait_for(|caller| *caller != Caller::Waiting)
        .await
        .map(|it| *it);
    if matches!(gone, Ok(Caller::Gone)) {
        let responded = caller.wait_for(|caller| matches!(caller, Caller::RespondedWithout(_)));
        let _ = tokio::time::timeout(grace, responded).await;
    }
    match *caller.borrow() {
        Caller::RespondedWithout(status) => Some(status.as_u16()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer may wait for the handler's response although it has sent another one.
    #[test]
    fn a_panic_and_a_timeout_have_different_responses() {
        for (outcome, status) in [(Outcome::Panicked, 500), (Outcome::TimedOut, 504)] {
            let response = Failure::new(outcome, None, "").into_response(None);
            assert_eq!(response.status(), status);
        }
    }
}
