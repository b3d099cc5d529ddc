//! The toolkit's own responses: RFC 9457 problem details without internals.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use problem_details::ProblemDetails;
use serde::Serialize;
use uuid::Uuid;

use crate::error::Error;

/// The response header with the id of the request's audit record.
pub(crate) const RECORD_ID: HeaderName = HeaderName::from_static("audit-record-id");

/// The request header with the actor's reason.
pub(crate) const REASON: HeaderName = HeaderName::from_static("audit-reason");

#[derive(Debug, Serialize)]
struct RecordRef {
    audit_record_id: Uuid,
}

fn problem(status: StatusCode, detail: &str, record_id: Option<Uuid>) -> Response {
    let details = ProblemDetails::from_status_code(status).with_detail(detail);
    match record_id {
        Some(id) => {
            let extensions = RecordRef {
                audit_record_id: id,
            };
            named(
                details.with_extensions(extensions).into_response(),
                Some(id),
            )
        }
        None => details.into_response(),
    }
}

/// Sets `Audit-Record-Id`, if there is a record to name.
pub(crate) fn named(mut response: Response, record_id: Option<Uuid>) -> Response {
    let Some(id) = record_id else { return response };
    let mut text = Uuid::encode_buffer();
    let text = id.hyphenated().encode_lower(&mut text);
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().insert(RECORD_ID, value);
    }
    response
}

pub(crate) fn no_actor() -> Response {
    let mut response = problem(
        StatusCode::UNAUTHORIZED,
        "This request changes state and needs an authenticated actor.",
        None,
    );
    // RFC 9110 11.6.1 requires a challenge with every 401.
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

pub(crate) fn no_reason() -> Response {
    problem(
        StatusCode::BAD_REQUEST,
        "This request needs a reason: send it in the header Audit-Reason.",
        None,
    )
}

pub(crate) fn several_reasons() -> Response {
    problem(
        StatusCode::BAD_REQUEST,
        "This request has several headers Audit-Reason: send one.",
        None,
    )
}

pub(crate) fn misconfigured() -> Response {
    problem(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The service is not set up to audit this request.",
        None,
    )
}

pub(crate) fn violation() -> Response {
    problem(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The request was refused because it left no audit record.",
        None,
    )
}

pub(crate) fn panicked(id: Option<Uuid>) -> Response {
    problem(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The request failed; nothing was changed.",
        id,
    )
}

/// An operation that was not committed, or whose outcome is unknown.
pub(crate) fn not_committed(error: &Error, id: Option<Uuid>) -> Response {
    let (status, detail) = match error {
        Error::Begin(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The database cannot be reached now; nothing was changed.",
        ),
        Error::ObligationOpen { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The service accepts no changes now, because an earlier one has no audit record; nothing was changed.",
        ),
        Error::OutcomeUnknown { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The connection to the database was lost while the change was being committed. It was made if and only if the audit record named here exists.",
        ),
        Error::TransactionEnded => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "The request failed, because its handler ended the transaction by itself; some of the change may have been made.",
        ),
        _ => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "The change could not be committed; nothing was changed.",
        ),
    };
    problem(status, detail, id)
}

pub(crate) fn timed_out(id: Option<Uuid>) -> Response {
    problem(
        StatusCode::GATEWAY_TIMEOUT,
        "The request took too long; nothing was changed.",
        id,
    )
}
