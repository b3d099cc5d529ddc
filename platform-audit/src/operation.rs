//! The audited operation: what all records of one request, job or command share.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use opentelemetry::trace::TraceContextExt;
use uuid::Uuid;

use crate::rate_limit::{LimitKey, RateLimiter};
use crate::record::Actor;

/// One audited operation: the fields that all its records share.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// The id of its first record.
    pub(crate) id: Uuid,
    pub(crate) occurred_at: Timestamp,
    pub(crate) actor: Actor,
    pub(crate) action: Cow<'static, str>,
    pub(crate) resource_type: Option<Cow<'static, str>>,
    pub(crate) resource_id: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) details: serde_json::Map<String, serde_json::Value>,
    pub(crate) request: Option<RequestFacts>,
    pub(crate) trace: Option<TraceIds>,
    /// The rate limit that its attempt counts against, if any.
    pub(crate) limit: Option<Arc<LimitKey>>,
}

/// The fields of a record that describe its HTTP request.
#[derive(Clone, Debug)]
pub(crate) struct RequestFacts {
    pub(crate) request_id: Option<String>,
    pub(crate) method: String,
    pub(crate) route: Option<String>,
    pub(crate) path: String,
    pub(crate) client_address: Option<String>,
    pub(crate) user_agent: Option<String>,
    /// The fields that contain the first of several headers.
    pub(crate) repeated: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub(crate) struct TraceIds {
    pub(crate) trace: String,
    pub(crate) span: String,
}

impl TraceIds {
    /// The ids of the active span.
    pub(crate) fn current() -> Option<Self> {
        let context = opentelemetry::Context::current();
        let span = context.span();
        let span = span.span_context();
        span.is_valid().then(|| Self {
            trace: span.trace_id().to_string(),
            span: span.span_id().to_string(),
        })
    }
}

/// The current time in microseconds, the precision of Postgres: a finer time would not be equal
/// to its stored value.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

impl Operation {
    pub(crate) fn new(rate_limiter: &RateLimiter, actor: Actor, action: Cow<'static, str>) -> Self {
        Self {
            id: Uuid::now_v7(),
            occurred_at: now(),
            limit: rate_limiter.key(&actor, action.clone(), None),
            actor,
            action,
            resource_type: None,
            resource_id: None,
            reason: None,
            details: serde_json::Map::new(),
            request: None,
            trace: TraceIds::current(),
        }
    }
}
