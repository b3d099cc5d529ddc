//! The bodies of audited handlers: begin, body, record, commit.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use uuid::Uuid;

use super::caller::{Body, abandoned, abandoned_as, detach_on_drop, until_abandoned};
use super::{Audited, Call};
use crate::action::AuditedAction;
use crate::error::Error;
use crate::operation::Operation;
use crate::record::Outcome;
use crate::request::problem;
use crate::request::{AuditedRequest, Caller, State};
use crate::store::{AuditDatabase, Store};
use crate::transaction::AuditTx;
use crate::transaction::{CommitOutcome, Committer};

/// Runs the body of a handler that changes state: begin, body, record, commit.
pub async fn run<M, DB, R, F>(call: Call<M>, resource_id: Option<String>, body: F) -> Audited<M>
where
    M: AuditedAction,
    DB: AuditDatabase,
    R: IntoResponse,
    F: for<'a> FnOnce(&'a mut AuditTx<DB>) -> BoxFuture<'a, R> + Send + 'static,
{
    let Call {
        request,
        mut operation,
        ..
    } = call;
    operation.resource_id = resource_id;
    let core = Arc::clone(&request.core);
    let Ok(store) = Arc::clone(&core.store).as_any().downcast::<Store<DB>>() else {
        tracing::error!(
            action = %operation.action,
            handler = std::any::type_name::<DB>(),
            "the handler's AuditTx is for another database than the one `audit.layer()` was made from"
        );
        return Audited::new(problem::misconfigured());
    };
    let work = Committer { core, store };
    let response = detach_on_drop(&request, operation.limit.clone(), |caller| {
        let request = Arc::clone(&request);
        async move { change(&work, &request, operation, body, caller).await }
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
        request,
        mut operation,
        ..
    } = call;
    operation.resource_id = resource_id;
    let response = detach_on_drop(&request, operation.limit.clone(), |caller| {
        let request = Arc::clone(&request);
        async move { read(&request, &operation, body, caller).await }
    });
    Audited::new(response.await)
}

async fn change<DB, R, F>(
    work: &Committer<DB>,
    request: &AuditedRequest,
    operation: Operation,
    body: F,
    mut caller: watch::Receiver<Caller>,
) -> Response
where
    DB: AuditDatabase,
    R: IntoResponse,
    F: for<'a> FnOnce(&'a mut AuditTx<DB>) -> BoxFuture<'a, R> + Send + 'static,
{
    let id = operation.id;
    let committed = |response: Response| {
        *request.state() = State::Committed;
        problem::named(response, Some(id))
    };
    // `recorded` is where the attempt can be found, if anywhere.
    let failed = |recorded: Option<Uuid>, response: Response| {
        *request.state() = State::NotCommitted(recorded);
        problem::named(response, recorded)
    };
    let core = &work.core;
    // Cut off, the connection is closed, so that no open transaction is left on it.
    let begun = tokio::select! {
        biased;
        status = abandoned(&mut caller, core.grace) => {
            let error_type = abandoned_as(status);
            let recorded = core.record_attempt(&operation, Outcome::TimedOut, status, error_type).await;
            return failed(recorded, problem::timed_out(recorded));
        }
        begun = work.store.begin(id) => begun,
    };
    let mut tx = match begun {
        Ok(transaction) => AuditTx::new(transaction, operation),
        Err(error) => {
            tracing::error!(record_id = %id, action = %operation.action, %error, "an audited request could not begin");
            // That it waits for a connection too is no reason to let the client wait for it.
            let (error_type, answer): (_, fn(_) -> _) = match error {
                Error::ObligationOpen { .. } => ("obligation_open", problem::blocked),
                _ => ("begin_failed", problem::not_begun),
            };
            let recorded = core.record_later(operation, Outcome::Failed, Some(503), error_type);
            return failed(recorded, answer(recorded));
        }
    };
    let body = until_abandoned(async { body(&mut tx).await }, &mut caller, core.grace).await;
    match body {
        Body::Answered(response) => {
            let status = response.status();
            let outcome = Outcome::of_status(status);
            if outcome != Outcome::Success {
                let recorded = work
                    .roll_back(tx, outcome, Some(status.as_u16()), status.as_str())
                    .await;
                return failed(recorded, response);
            }
            match work.commit(tx, Some(status.as_u16())).await {
                CommitOutcome::Committed => committed(response),
                // What it did until then may be committed, without a record.
                CommitOutcome::RolledBack(Error::TransactionEnded, recorded) => {
                    core.metrics.violation();
                    failed(recorded, problem::ended(recorded))
                }
                CommitOutcome::RolledBack(_, recorded) => {
                    failed(recorded, problem::not_committed(recorded))
                }
                CommitOutcome::Unknown(_) => failed(Some(id), problem::unknown(id)),
            }
        }
        Body::Panicked => {
            let recorded = work
                .roll_back(tx, Outcome::Panicked, Some(500), "panic")
                .await;
            failed(recorded, problem::panicked(recorded))
        }
        Body::Abandoned(status) => {
            let recorded = work
                .roll_back(tx, Outcome::TimedOut, status, abandoned_as(status))
                .await;
            failed(recorded, problem::timed_out(recorded))
        }
    }
}

async fn read<R, F>(
    request: &AuditedRequest,
    operation: &Operation,
    body: F,
    mut caller: watch::Receiver<Caller>,
) -> Response
where
    R: IntoResponse,
    F: FnOnce() -> BoxFuture<'static, R> + Send + 'static,
{
    let core = &request.core;
    let failed = |recorded: Option<Uuid>, response: Response| {
        *request.state() = State::NotCommitted(recorded);
        problem::named(response, recorded)
    };
    match until_abandoned(async { body().await }, &mut caller, core.grace).await {
        Body::Answered(response) => {
            let status = response.status();
            let outcome = Outcome::of_status(status);
            if outcome != Outcome::Success {
                let recorded = core
                    .record_attempt(operation, outcome, Some(status.as_u16()), status.as_str())
                    .await;
                return failed(recorded, response);
            }
            match core.record_read(operation, status).await {
                Ok(()) => {
                    *request.state() = State::Committed;
                    problem::named(response, Some(operation.id))
                }
                Err(error) => {
                    tracing::error!(record_id = %operation.id, action = %operation.action, %error, "what was read is withheld, as its audit record could not be written");
                    let recorded = core
                        .record_attempt(operation, Outcome::Failed, Some(500), "record_refused")
                        .await;
                    failed(recorded, problem::not_committed(recorded))
                }
            }
        }
        Body::Panicked => {
            let recorded = core
                .record_attempt(operation, Outcome::Panicked, Some(500), "panic")
                .await;
            failed(recorded, problem::panicked(recorded))
        }
        Body::Abandoned(status) => {
            let recorded = core
                .record_attempt(operation, Outcome::TimedOut, status, abandoned_as(status))
                .await;
            failed(recorded, problem::timed_out(recorded))
        }
    }
}
