//! Runs audited handlers: body, record, commit, and only then the response.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use uuid::Uuid;

use super::body::{detach_on_drop, run_body};
use super::{Audited, Call};
use crate::action::AuditedAction;
use crate::error::Error;
use crate::operation::Operation;
use crate::record::Outcome;
use crate::request::problem;
use crate::request::{AuditedRequest, Caller, State};
use crate::store::{AuditDatabase, Store};
use crate::transaction::{AuditTx, Committer, NotCommitted, inside};

/// Runs the body of a handler that changes state: body, record, commit.
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
            "the handler's `AuditTx<DB>` has another database type than the `Audit<DB>` whose layer is mounted: use the same type for both"
        );
        return Audited::new(problem::misconfigured());
    };
    let committer = Committer { core, store };
    let response = detach_on_drop(&request, operation.limit.clone(), |caller| {
        let request = Arc::clone(&request);
        async move {
            let id = operation.id;
            let ended = change(&committer, operation, body, caller).await;
            respond(&request, id, ended)
        }
    });
    Audited::new(response.await)
}

/// Runs the body of a handler that reads sensitive data: body, record, and only then the response.
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
        async move {
            let ended = read(&request, &operation, body, caller).await;
            respond(&request, operation.id, ended)
        }
    });
    Audited::new(response.await)
}

/// The response to an operation that was not committed, and the record of its attempt.
type Failed = (Response, Option<Uuid>);

/// Stores how the operation ended, and adds the id of its record to the response.
fn respond(request: &AuditedRequest, id: Uuid, ended: Result<Response, Failed>) -> Response {
    let (state, response, record_id) = match ended {
        Ok(response) => (State::Committed, response, Some(id)),
        Err((response, record_id)) => (State::NotCommitted(record_id), response, record_id),
    };
    *request.state() = state;
    problem::named(response, record_id)
}

async fn change<DB, R, F>(
    committer: &Committer<DB>,
    operation: Operation,
    body: F,
    mut caller: watch::Receiver<Caller>,
) -> Result<Response, Failed>
where
    DB: AuditDatabase,
    R: IntoResponse,
    F: for<'a> FnOnce(&'a mut AuditTx<DB>) -> BoxFuture<'a, R> + Send + 'static,
{
    let Committer { core, store } = committer;
    let mut tx = AuditTx::new(Arc::clone(store), operation);
    let running = inside(store, async { body(&mut tx).await });
    let not_committed = match run_body(running, &mut caller, core.grace).await {
        Ok(response) => {
            let status = response.status().as_u16();
            match committer.commit(tx, Some(status)).await {
                Ok(()) => return Ok(response),
                Err(not_committed) => not_committed,
            }
        }
        Err(failure) => match tx.take_begin_error() {
            // The transaction could not begin, so the handler's first statement failed.
            Some(error) => committer.not_begun(tx, error, Some(503)),
            None => {
                let record_id = committer
                    .roll_back(tx, failure.outcome, failure.status, &failure.error_type)
                    .await;
                return Err((failure.into_response(record_id), record_id));
            }
        },
    };
    let NotCommitted { error, record_id } = not_committed;
    if matches!(error, Error::TransactionEnded) {
        // The handler ended the transaction itself, so its changes may be committed without a
        // record.
        core.metrics.violation();
    }
    Err((problem::not_committed(&error, record_id), record_id))
}

async fn read<R, F>(
    request: &AuditedRequest,
    operation: &Operation,
    body: F,
    mut caller: watch::Receiver<Caller>,
) -> Result<Response, Failed>
where
    R: IntoResponse,
    F: FnOnce() -> BoxFuture<'static, R> + Send + 'static,
{
    let core = &request.core;
    match run_body(async { body().await }, &mut caller, core.grace).await {
        Ok(response) => match core.record_read(operation, response.status()).await {
            Ok(()) => Ok(response),
            Err(error) => {
                tracing::error!(record_id = %operation.id, action = %operation.action, %error, "the response is withheld, because the audit record of the read could not be written");
                let record_id = core
                    .record_attempt(operation, Outcome::Failed, Some(500), error.error_type())
                    .await;
                Err((problem::not_committed(&error, record_id), record_id))
            }
        },
        Err(failure) => {
            let record_id = core
                .record_attempt(
                    operation,
                    failure.outcome,
                    failure.status,
                    &failure.error_type,
                )
                .await;
            Err((failure.into_response(record_id), record_id))
        }
    }
}
