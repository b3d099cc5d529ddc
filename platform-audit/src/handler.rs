//! What `#[audited]` and `#[audit_exempt]` turn a handler into.

use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::request::Parts;
use opentelemetry::trace::FutureExt as _;
use tokio::sync::watch;
use tracing::Instrument;

use crate::__private::{ActionSpec, AuditedAction};
use crate::context::{Core, TraceIds, Unit};
use crate::problem;
use crate::record::{Actor, Outcome};
use crate::request::{AuditedRequest, Caller, Handle, State};
use crate::store::{AuditDatabase, Store};
use crate::tx::AuditTx;
use crate::work::{Committed, Work};

/// What a handler under `#[audited]` returns: its response, after its record was committed.
///
/// `M` names the handler's action to the compiler: the functions of [`routing`](crate::routing)
/// take only handlers that return this or [`Exempt`].
#[must_use]
pub struct Audited<M> {
    response: Response,
    action: PhantomData<fn() -> M>,
}

/// What a handler under `#[audit_exempt]` returns.
#[must_use]
pub struct Exempt<M> {
    response: Response,
    reason: PhantomData<fn() -> M>,
}

/// Marks the response of an exempt handler for the guard. Private, so that only the macro's
/// code can make one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExemptResponse;

impl<M> IntoResponse for Audited<M> {
    fn into_response(self) -> Response {
        self.response
    }
}

impl<M> IntoResponse for Exempt<M> {
    fn into_response(mut self) -> Response {
        self.response.extensions_mut().insert(ExemptResponse);
        self.response
    }
}

impl<M> std::fmt::Debug for Audited<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audited")
            .field("status", &self.response.status())
            .finish_non_exhaustive()
    }
}

impl<M> std::fmt::Debug for Exempt<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exempt")
            .field("status", &self.response.status())
            .finish_non_exhaustive()
    }
}

/// One call of the audited handler whose action is `M`: who asks, why, and under which guard.
///
/// It is the first argument of every handler under `#[audited]`. A request brings it along; a
/// test that calls the handler as a function gets one from [`Audit::call`](crate::Audit::call).
pub struct Call<M> {
    request: Arc<AuditedRequest>,
    unit: Unit,
    action: PhantomData<fn() -> M>,
}

impl<M> std::fmt::Debug for Call<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("unit", &self.unit)
            .finish_non_exhaustive()
    }
}

impl<M: AuditedAction> Call<M> {
    pub(crate) fn without_request(core: Arc<Core>, actor: Actor) -> Self {
        let request = AuditedRequest::without_request(core);
        let mut unit = request.unit(&M::SPEC, actor, TraceIds::current());
        unit.request = None;
        Self {
            request: Arc::new(request),
            unit,
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
                "an audited handler was called without the audit guard: add `.layer(audit.layer())` to its router"
            );
            return Err(problem::misconfigured());
        };
        request.learn_route(&parts.extensions);
        let trace = TraceIds::current();
        let actor = request.actor(parts);
        *request.state() = State::Reached {
            spec,
            actor: actor.clone(),
            trace: trace.clone(),
        };

        let actor = match actor {
            Some(actor) => actor,
            None if spec.actor_optional => Actor::anonymous(),
            None if request.core.observe_only => {
                tracing::warn!(
                    action = spec.action,
                    route = request.route(),
                    "a request without an actor reached an audited handler; only observing, so it goes on as anonymous"
                );
                Actor::anonymous()
            }
            None => return Err(problem::no_actor()),
        };
        let mut unit = request.unit(&spec, actor, trace);
        unit.reason = parts
            .headers
            .get(problem::REASON)
            .map(|reason| String::from_utf8_lossy(reason.as_bytes()).trim().to_owned())
            .filter(|reason| !reason.is_empty());
        if spec.reason_required && unit.reason.is_none() {
            return Err(problem::no_reason());
        }
        Ok(Self {
            request,
            unit,
            action: PhantomData,
        })
    }
}

/// Runs the body of a handler that changes state: begin, body, record, commit.
pub async fn run<M, DB, R, F>(call: Call<M>, resource_id: Option<String>, body: F) -> Audited<M>
where
    M: AuditedAction,
    DB: AuditDatabase,
    R: IntoResponse,
    F: for<'a> FnOnce(&'a mut AuditTx<DB>) -> BoxFuture<'a, R> + Send + 'static,
{
    let Call {
        request, mut unit, ..
    } = call;
    unit.resource_id = resource_id;
    let core = Arc::clone(&request.core);
    let Ok(store) = Arc::clone(&core.store).as_any().downcast::<Store<DB>>() else {
        tracing::error!(
            action = %unit.action,
            handler = std::any::type_name::<DB>(),
            "the handler's AuditTx is for another database than the one `audit.layer()` was made from"
        );
        return Audited::new(problem::misconfigured());
    };
    let work = Work { core, store };
    let response = on_own_task(&request, |caller| {
        let request = Arc::clone(&request);
        async move { change(&work, &request, unit, body, caller).await }
    });
    Audited::new(response.await)
}

/// Runs the body of a handler that reads what is sensitive: body, record, and only then answer.
pub async fn run_read<M, R, F>(call: Call<M>, resource_id: Option<String>, body: F) -> Audited<M>
where
    M: AuditedAction,
    R: IntoResponse,
    F: FnOnce() -> BoxFuture<'static, R> + Send + 'static,
{
    let Call {
        request, mut unit, ..
    } = call;
    unit.resource_id = resource_id;
    let response = on_own_task(&request, |caller| {
        let request = Arc::clone(&request);
        async move { read(&request, &unit, body, caller).await }
    });
    Audited::new(response.await)
}

/// The response of an exempt handler.
pub fn exempt<M, R: IntoResponse>(response: R) -> Exempt<M> {
    Exempt {
        response: response.into_response(),
        reason: PhantomData,
    }
}

impl<M> Audited<M> {
    fn new(response: Response) -> Self {
        Self {
            response,
            action: PhantomData,
        }
    }
}

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

/// Runs `work` on a task of its own, so that a client that hangs up cannot cut it in two; the
/// caller's span and OpenTelemetry context go along.
async fn on_own_task<W>(
    request: &Arc<AuditedRequest>,
    work: impl FnOnce(watch::Receiver<Caller>) -> W,
) -> Response
where
    W: Future<Output = Response> + Send + 'static,
{
    let (sender, caller) = watch::channel(Caller::Waiting);
    let waiting = Waiting(sender.clone());
    *request.state() = State::Running(sender);
    let task = work(caller)
        .instrument(tracing::Span::current())
        .with_context(opentelemetry::Context::current());
    let ended = request.core.tasks.spawn(task).await;
    drop(waiting);
    ended.unwrap_or_else(|error| {
        // Only if the runtime is shutting down: the body's panics are caught inside.
        tracing::error!(
            cancelled = error.is_cancelled(),
            "the task of an audited handler was lost"
        );
        problem::panicked(request.record_id)
    })
}

/// How a body ended.
enum Body {
    Answered(Response),
    Panicked,
    /// Nobody waits for it any more; the status that the client got instead, if any.
    Abandoned(Option<u16>),
}

/// Runs `body` until it ends, or until nobody waits for it any more. It is not even begun when
/// the request has been answered already, so that a service that cannot keep up does no work
/// that nobody wants.
async fn until_abandoned<R: IntoResponse>(
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
async fn abandoned(caller: &mut watch::Receiver<Caller>, grace: Duration) -> Option<u16> {
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

async fn change<DB, R, F>(
    work: &Work<DB>,
    request: &AuditedRequest,
    unit: Unit,
    body: F,
    mut caller: watch::Receiver<Caller>,
) -> Response
where
    DB: AuditDatabase,
    R: IntoResponse,
    F: for<'a> FnOnce(&'a mut AuditTx<DB>) -> BoxFuture<'a, R> + Send + 'static,
{
    let id = unit.id;
    let ended = |state: State, mut response: Response| {
        *request.state() = state;
        problem::name_record(&mut response, id);
        response
    };
    let core = &work.core;
    // Cut off, the connection is closed, so that no open transaction is left on it.
    let begun = tokio::select! {
        biased;
        status = abandoned(&mut caller, core.grace) => {
            let error_type = abandoned_as(status);
            core.record_attempt(&unit, Outcome::TimedOut, status, error_type).await;
            return ended(State::NotCommitted, problem::timed_out(id));
        }
        begun = work.store.begin(id) => begun,
    };
    let mut tx = match begun {
        Ok(connection) => AuditTx::new(connection, unit),
        Err(error) => {
            tracing::error!(record_id = %id, action = %unit.action, %error, "an audited request could not begin");
            core.record_attempt(&unit, Outcome::Failed, Some(503), "begin_failed")
                .await;
            return ended(State::NotCommitted, problem::not_begun(id));
        }
    };
    let body = until_abandoned(async { body(&mut tx).await }, &mut caller, core.grace).await;
    match body {
        Body::Answered(mut response) => {
            let status = response.status();
            let outcome = Outcome::of_status(status);
            if outcome != Outcome::Success {
                work.roll_back(tx, outcome, Some(status.as_u16()), status.as_str())
                    .await;
                return ended(State::NotCommitted, response);
            }
            match work.commit(tx, Some(status.as_u16())).await {
                Committed::Both => {
                    problem::name_record(&mut response, id);
                    ended(State::Committed, response)
                }
                Committed::Neither(_) => ended(State::NotCommitted, problem::not_committed(id)),
                Committed::Unknown(_) => ended(State::NotCommitted, problem::unknown(id)),
            }
        }
        Body::Panicked => {
            work.roll_back(tx, Outcome::Panicked, Some(500), "panic")
                .await;
            ended(State::NotCommitted, problem::panicked(id))
        }
        Body::Abandoned(status) => {
            work.roll_back(tx, Outcome::TimedOut, status, abandoned_as(status))
                .await;
            ended(State::NotCommitted, problem::timed_out(id))
        }
    }
}

async fn read<R, F>(
    request: &AuditedRequest,
    unit: &Unit,
    body: F,
    mut caller: watch::Receiver<Caller>,
) -> Response
where
    R: IntoResponse,
    F: FnOnce() -> BoxFuture<'static, R> + Send + 'static,
{
    let core = &request.core;
    let ended = |state: State, mut response: Response| {
        *request.state() = state;
        problem::name_record(&mut response, unit.id);
        response
    };
    let failed = |response: Response| ended(State::NotCommitted, response);
    match until_abandoned(async { body().await }, &mut caller, core.grace).await {
        Body::Answered(response) => {
            let status = response.status();
            let outcome = Outcome::of_status(status);
            if outcome != Outcome::Success {
                core.record_attempt(unit, outcome, Some(status.as_u16()), status.as_str())
                    .await;
                return failed(response);
            }
            match core.record_read(unit, status).await {
                Ok(()) => ended(State::Committed, response),
                Err(error) => {
                    tracing::error!(record_id = %unit.id, action = %unit.action, %error, "what was read is withheld, as its audit record could not be written");
                    failed(problem::not_committed(unit.id))
                }
            }
        }
        Body::Panicked => {
            core.record_attempt(unit, Outcome::Panicked, Some(500), "panic")
                .await;
            failed(problem::panicked(unit.id))
        }
        Body::Abandoned(status) => {
            core.record_attempt(unit, Outcome::TimedOut, status, abandoned_as(status))
                .await;
            failed(problem::timed_out(unit.id))
        }
    }
}

fn abandoned_as(status: Option<u16>) -> &'static str {
    if status.is_some() {
        "timeout"
    } else {
        "client_disconnected"
    }
}

/// What the routing functions ask of a handler's return type.
#[diagnostic::on_unimplemented(
    message = "this handler may change state, but it is neither audited nor exempt",
    label = "not audited",
    note = "write `#[audited(action = \"noun.verb\")]` above the handler and take `tx: &mut AuditTx` for its changes",
    note = "or, if it changes nothing that needs a record, write `#[audit_exempt(reason = \"…\")]` above it"
)]
pub trait Marked {
    #[doc(hidden)]
    const MARK: Mark;
}

/// An action or the reason why there is none.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Mark {
    Audited(ActionSpec),
    Exempt(&'static str),
}

impl<M: AuditedAction> Marked for Audited<M> {
    const MARK: Mark = Mark::Audited(M::SPEC);
}

impl<M: crate::__private::ExemptAction> Marked for Exempt<M> {
    const MARK: Mark = Mark::Exempt(M::REASON);
}
