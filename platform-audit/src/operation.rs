//! The audited operation: the fields that all records of one request, job or command share.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{MatchedPath, OriginalUri};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Uri, header};
use jiff::Timestamp;
use opentelemetry::trace::TraceContextExt;
use uuid::Uuid;

use crate::actor_source::{ClientAddresses, client_address};
use crate::rate_limit::{LimitKey, RateLimiter};
use crate::record::{Actor, AuditRecord, Outcome};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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

/// The fields of a record that describe its HTTP request. They are kept in the request's own types,
/// which are cheap to clone, and converted only if a record is written.
#[derive(Clone, Debug)]
pub(crate) struct RequestFacts {
    pub(crate) method: Method,
    uri: Uri,
    /// The template of the route, if the request matched one.
    pub(crate) route: Option<MatchedPath>,
    pub(crate) client_address: Option<IpAddr>,
    request_id: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    /// The columns whose header the client sent more than once. A record contains only the first
    /// value.
    repeated: Vec<&'static str>,
}

impl RequestFacts {
    /// Extracts the fields from `parts`. `client_addresses` derives the client's address, if the
    /// service configured that.
    pub(crate) fn from_parts(parts: &Parts, client_addresses: Option<&ClientAddresses>) -> Self {
        let Parts {
            method,
            uri,
            headers,
            extensions,
            ..
        } = parts;
        // A nested router sees only the rest of the path.
        let original = extensions.get::<OriginalUri>();
        let columns = [
            ("request_id", REQUEST_ID),
            ("user_agent", header::USER_AGENT),
        ];
        let repeated = columns
            .into_iter()
            .filter(|(_, header)| headers.get_all(header).iter().nth(1).is_some());
        Self {
            method: method.clone(),
            uri: original.map_or(uri, |original| &original.0).clone(),
            route: extensions.get::<MatchedPath>().cloned(),
            client_address: client_address(client_addresses, parts),
            request_id: headers.get(REQUEST_ID).cloned(),
            user_agent: headers.get(header::USER_AGENT).cloned(),
            repeated: repeated.map(|(column, _)| column).collect(),
        }
    }

    /// Fills in the record's columns. Bytes of a header that are not UTF-8 become U+FFFD.
    fn describe(&self, record: &mut AuditRecord) {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let route = self.route.as_ref();
        record.request_id = self.request_id.as_ref().map(text);
        record.method = Some(self.method.as_str().to_owned());
        record.route = route.map(|route| route.as_str().to_owned());
        record.path = Some(self.uri.path().to_owned());
        record.client_address = self.client_address.map(|address| address.to_string());
        record.user_agent = self.user_agent.as_ref().map(text);
        let repeated = self.repeated.iter();
        record
            .cut
            .extend(repeated.map(|column| (*column).to_owned()));
    }
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

/// The current time, truncated to microseconds, the precision of Postgres. Otherwise it would
/// differ from its stored value.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

impl Operation {
    pub(crate) fn new(rate_limiter: &RateLimiter, actor: Actor, action: Cow<'static, str>) -> Self {
        Self {
            limit: rate_limiter.key(&actor, action.clone(), None),
            ..Self::unlimited(actor, action)
        }
    }

    /// Creates an operation without a rate limit.
    pub(crate) fn unlimited(actor: Actor, action: Cow<'static, str>) -> Self {
        Self {
            id: Uuid::now_v7(),
            occurred_at: now(),
            limit: None,
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

    /// A record of this operation of `service`, to be completed and
    /// [bounded](crate::record::bound_record).
    pub(crate) fn record(
        &self,
        service: &str,
        service_version: Option<&str>,
        outcome: Outcome,
        status: Option<u16>,
    ) -> AuditRecord {
        let trace = self.trace.as_ref();
        let mut record = AuditRecord {
            id: self.id,
            xid: None,
            occurred_at: self.occurred_at,
            recorded_at: None,
            service: service.to_owned(),
            service_version: service_version.map(ToOwned::to_owned),
            actor: self.actor.clone(),
            action: self.action.clone().into_owned(),
            resource_type: self.resource_type.clone().map(Cow::into_owned),
            resource_id: self.resource_id.clone(),
            outcome,
            status,
            error_type: None,
            reason: self.reason.clone(),
            request_id: None,
            method: None,
            route: None,
            path: None,
            client_address: None,
            user_agent: None,
            trace_id: trace.map(|trace| trace.trace.clone()),
            span_id: trace.map(|trace| trace.span.clone()),
            changes: BTreeMap::new(),
            details: self.details.clone(),
            cut: Vec::new(),
        };
        if let Some(request) = &self.request {
            request.describe(&mut record);
        }
        record
    }
}
