use std::sync::Arc;

use axum::response::Response;
use futures_util::future::BoxFuture;
use http::StatusCode;

use crate::action::ActionSpec;
use crate::action::{ANY_METHOD, Requirement};
use crate::handler::ExemptResponse;
use crate::operation::{Operation, TraceIds};
use crate::record::{Actor, Outcome};
use crate::request::problem::{self, named};
use crate::request::{AuditedRequest, Caller, State};

/// How the layer responds.
pub(super) enum Decision {
    Now(Response),
    /// After the attempt is recorded.
    AfterRecording(BoxFuture<'static, Response>),
}

/// Decides by the table in [`layer`](crate::layer).
pub(super) fn decide(request: &Arc<AuditedRequest>, response: Response) -> Decision {
    let status = response.status();
    let succeeded = Outcome::from_status(status) == Outcome::Success;
    let untouched = match &*request.state() {
        State::Committed => return Decision::Now(named(response, Some(request.record_id()))),
        State::NotCommitted(_) if succeeded => false,
        State::NotCommitted(recorded) => return Decision::Now(named(response, *recorded)),
        State::Running { caller, limit } => {
            // Probably a timeout. The operation rolls back unless it is already committing, and
            // records how it ended under the id named here, unless it is over the rate limit.
            caller.send_replace(Caller::RespondedWithout(status));
            if !succeeded {
                let admitted = request.core.rate_limiter.admits(limit.as_deref());
                let recorded = admitted.then_some(request.record_id());
                return Decision::Now(named(response, recorded));
            }
            false
        }
        State::Reached { spec, actor, trace } => {
            // Its body has not run. An extractor may redirect unknown users to a login page.
            let outcome = if is_redirect(status) {
                Outcome::Denied
            } else {
                Outcome::from_status(status)
            };
            if outcome != Outcome::Success {
                let operation = attempt(request, spec, actor.clone(), trace.clone());
                return record(request, operation, outcome, response);
            }
            false
        }
        State::Elsewhere => return Decision::Now(response),
        State::Untouched(actor) => {
            let exempt = response.extensions().get::<ExemptResponse>().is_some();
            if request.method().is_safe() || exempt {
                return Decision::Now(response);
            }
            let nothing_there = matches!(
                status,
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
            );
            let entry = request.catalogued();
            // A handler for any method may share the route with an axum handler for this method,
            // which the catalogue does not contain.
            let is_certain = entry
                .as_ref()
                .is_some_and(|entry| entry.method != ANY_METHOD);
            match entry.map(|entry| entry.requirement) {
                // Even if a layer responded in place of the handler.
                Some(Requirement::Exempt(_)) if !succeeded || is_certain => {
                    return Decision::Now(response);
                }
                _ if succeeded => true,
                Some(Requirement::Audited(spec)) if !nothing_there => {
                    let operation = attempt(request, &spec, actor.clone(), TraceIds::current());
                    return record(request, operation, Outcome::from_status(status), response);
                }
                _ => return Decision::Now(response),
            }
        }
    };
    Decision::Now(violation(request, response, untouched))
}

/// Whether the client is redirected to another address.
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301..=303 | 307 | 308)
}

/// Why the service inside the layer returned no response.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unanswered {
    /// The client disconnected.
    Disconnected,
    /// A panic, which an outer layer may catch and turn into a response.
    Panicked,
    /// An error, which an outer layer turns into a response.
    Failed,
}

/// Records the attempt if an audited handler was reached and its body did not start.
pub(super) fn unanswered(request: &Arc<AuditedRequest>, ended: Unanswered) {
    let operation = match &*request.state() {
        State::Reached { spec, actor, trace } => {
            attempt(request, spec, actor.clone(), trace.clone())
        }
        // A running operation records its own attempt. Otherwise no audited handler was reached, or
        // it has already ended.
        _ => return,
    };
    let (outcome, status, error_type) = match ended {
        Unanswered::Panicked => (Outcome::Panicked, Some(500), "panic"),
        Unanswered::Disconnected => (Outcome::Failed, None, "client_disconnected"),
        Unanswered::Failed => (Outcome::Failed, None, "service_failed"),
    };
    let core = Arc::clone(&request.core);
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            let tasks = core.tasks.clone();
            let recording = async move {
                core.record_attempt(&operation, outcome, status, error_type)
                    .await;
            };
            tasks.spawn_on(recording, &runtime);
        }
        Err(_) => core.report_lost(
            &core.record(&operation, outcome, status),
            "the runtime is shutting down",
        ),
    }
}

/// The operation of an attempt whose handler never ran.
fn attempt(
    request: &AuditedRequest,
    spec: &ActionSpec,
    actor: Option<Actor>,
    trace: Option<TraceIds>,
) -> Operation {
    request.operation(spec, actor.unwrap_or_else(Actor::anonymous), trace)
}

/// Records the attempt in a task of its own, so that a client that disconnects now does not cancel
/// it, and then responds.
fn record(
    request: &Arc<AuditedRequest>,
    operation: Operation,
    outcome: Outcome,
    response: Response,
) -> Decision {
    let core = Arc::clone(&request.core);
    let status = response.status();
    let recording = request.core.tasks.spawn(async move {
        core.record_attempt(&operation, outcome, Some(status.as_u16()), status.as_str())
            .await
    });
    Decision::AfterRecording(Box::pin(async move {
        // It fails only when the runtime is shutting down.
        let recorded = recording.await.ok().flatten();
        named(response, recorded)
    }))
}

fn violation(request: &AuditedRequest, response: Response, untouched: bool) -> Response {
    let core = &request.core;
    core.metrics.violation();
    let what = if untouched {
        "a state-changing request succeeded in a handler that is neither audited nor exempt"
    } else {
        "a request received a success response although its audited handler committed nothing"
    };
    tracing::error!(
        method = %request.method(),
        route = request.route(),
        status = response.status().as_u16(),
        observe_only = core.observe_only,
        "{what}; add #[audited(action = \"noun.verb\")] to the handler, or #[audit_exempt(reason = \"…\")]"
    );
    if core.observe_only {
        response
    } else {
        problem::violation()
    }
}
