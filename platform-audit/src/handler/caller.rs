//! What becomes of a handler's body when nobody waits for it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use opentelemetry::trace::FutureExt as _;
use tokio::sync::watch;
use tracing::Instrument;

use crate::rate_limit::LimitKey;
use crate::request::{AuditedRequest, Caller, State};

/// Tells the running task when nobody waits for it any more.
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

/// Runs `work`, also when the client hangs up; the caller's span and OpenTelemetry context go along.
pub(super) async fn detach_on_drop<W>(
    request: &Arc<AuditedRequest>,
    limit: Option<Arc<LimitKey>>,
    work: impl FnOnce(watch::Receiver<Caller>) -> W,
) -> Response
where
    W: Future<Output = Response> + Send + 'static,
{
    let (sender, caller) = watch::channel(Caller::Waiting);
    let _waiting = Waiting(sender.clone());
    *request.state() = State::Running {
        caller: sender,
        limit,
    };
    let work = work(caller)
        .instrument(tracing::Span::current())
        .with_context(opentelemetry::Context::current());
    crate::transaction::detach_on_drop(&request.core.tasks, work).await
}

/// How a body ended.
pub(super) enum Body {
    Answered(Response),
    Panicked,
    /// Nobody waits for it any more; the status that the client got instead, if any.
    Abandoned(Option<u16>),
}

/// Runs `body` until it ends, or until nobody waits for it any more. It is not even begun when
/// the request has been answered already, so that a service that cannot keep up does no work
/// that nobody wants.
pub(super) async fn until_abandoned<R: IntoResponse>(
    body: impl Future<Output = R>,
    caller: &mut watch::Receiver<Caller>,
    grace: Duration,
) -> Body {
    let body = AssertUnwindSafe(async { body.await.into_response() }).catch_unwind();
    tokio::select! {
        biased;
        status = abandoned(caller, grace) => Body::Abandoned(status),
        ended = body => ended.map_or(Body::Panicked, Body::Answered),
    }
}

/// Waits until nobody waits for the handler any more; answers with the status that the client
/// got instead, if any.
///
/// What a client that hung up asked for is still finished, if it takes no longer than `grace`.
pub(super) async fn abandoned(
    caller: &mut watch::Receiver<Caller>,
    grace: Duration,
) -> Option<u16> {
    let gone = caller
        .wait_for(|caller| *caller != Caller::Waiting)
        .await
        .map(|it| *it);
    if matches!(gone, Ok(Caller::Gone)) {
        let answered = caller.wait_for(|caller| matches!(caller, Caller::AnsweredWithout(_)));
        let _ = tokio::time::timeout(grace, answered).await;
    }
    match *caller.borrow() {
        Caller::AnsweredWithout(status) => Some(status.as_u16()),
        _ => None,
    }
}

pub(super) fn abandoned_as(status: Option<u16>) -> &'static str {
    if status.is_some() {
        "timeout"
    } else {
        "client_disconnected"
    }
}
