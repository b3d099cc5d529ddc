//! The bodies of audited handlers: begin, body, record, commit.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::own_task::{Body, abandoned, abandoned_as, on_own_task, until_abandoned};
use super::{Audited, Call};
use crate::__private::AuditedAction;
use crate::context::Unit;
use crate::problem;
use crate::record::Outcome;
use crate::request::{AuditedRequest, Caller, State};
use crate::store::{AuditDatabase, Store};
use crate::tx::AuditTx;
use crate::work::{Committed, Work};

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
