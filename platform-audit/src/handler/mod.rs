//! The code behind the handlers that `#[audited]` and `#[audit_exempt]` generate.

mod body;
mod call;
mod run;

use std::marker::PhantomData;

use axum::response::{IntoResponse, Response};

use crate::action::{AuditedAction, Declaration, Declares, ExemptAction};

pub use call::Call;
pub use run::{run, run_read};

/// The return type of a handler under `#[audited]`: its response, after its record was committed.
///
/// `M` is a marker type with the handler's action. The functions of [`routing`](crate::routing) accept
/// only handlers that return this type or [`Exempt`].
#[must_use]
pub struct Audited<M> {
    response: Response,
    action: PhantomData<fn() -> M>,
}

/// The return type of a handler under `#[audit_exempt]`: its response.
#[must_use]
pub struct Exempt<M> {
    response: Response,
    reason: PhantomData<fn() -> M>,
}

/// Marks the response of an exempt handler for the audit layer. Private, so that only the code that
/// the macro generates can create one.
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

/// Wraps the response of an exempt handler.
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

impl<M: AuditedAction> Declares for Audited<M> {
    const DECLARATION: Declaration = Declaration::Audited(M::SPEC);
}

impl<M: ExemptAction> Declares for Exempt<M> {
    const DECLARATION: Declaration = Declaration::Exempt(M::REASON);
}
