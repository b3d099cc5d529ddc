//! What is known of a request, in the words of OpenTelemetry's HTTP semantic conventions.

use std::borrow::Cow;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, MatchedPath, OriginalUri};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Version, header};
use opentelemetry::{Array, KeyValue, StringValue, Value};

pub(crate) const REQUEST_METHOD: &str = "http.request.method";
pub(crate) const RESPONSE_STATUS_CODE: &str = "http.response.status_code";
pub(super) const ROUTE: &str = "http.route";
pub(crate) const ERROR_TYPE: &str = "error.type";
pub(super) const URL_SCHEME: &str = "url.scheme";
pub(crate) const PROTOCOL_VERSION: &str = "network.protocol.version";

/// What spans and metrics of a request share, of few different values each.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) method: &'static str,
    pub(super) scheme: &'static str,
    pub(super) route: Option<Box<str>>,
    pub(super) version: Option<&'static str>,
}

impl Known {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        Self {
            method: method(request.method()),
            scheme: scheme(request),
            route: route.map(|route| route.as_str().into()),
            version: version(request.version()),
        }
    }

    /// `{method} {route}`, in which an unknown method is `HTTP`.
    pub(super) fn span_name(&self) -> Cow<'static, str> {
        let method = if self.method == OTHER {
            "HTTP"
        } else {
            self.method
        };
        match &self.route {
            Some(route) => Cow::Owned(format!("{method} {route}")),
            None => Cow::Borrowed(method),
        }
    }

    /// The attributes of the duration, with what became of the request.
    pub(super) fn with_outcome(
        self,
        status: Option<i64>,
        error: Option<Cow<'static, str>>,
    ) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(6);
        attributes.push(KeyValue::new(REQUEST_METHOD, self.method));
        attributes.push(KeyValue::new(URL_SCHEME, self.scheme));
        if let Some(route) = self.route {
            attributes.push(KeyValue::new(ROUTE, String::from(route)));
        }
        if let Some(version) = self.version {
            attributes.push(KeyValue::new(PROTOCOL_VERSION, version));
        }
        if let Some(status) = status {
            attributes.push(KeyValue::new(RESPONSE_STATUS_CODE, status));
        }
        if let Some(error) = error {
            attributes.push(KeyValue::new(ERROR_TYPE, error));
        }
        attributes
    }
}

/// The attributes of a span when the request arrives.
pub(super) fn on_request<B>(
    request: &Request<B>,
    known: &Known,
    request_id: &HeaderValue,
) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(12);
    attributes.push(KeyValue::new(REQUEST_METHOD, known.method));
    if known.method == OTHER {
        let original = request.method().as_str().to_owned();
        attributes.push(KeyValue::new("http.request.method_original", original));
    }
    attributes.push(KeyValue::new(URL_SCHEME, known.scheme));
    attributes.push(KeyValue::new("url.path", path(request).to_owned()));
    if let Some(route) = &known.route {
        attributes.push(KeyValue::new(ROUTE, route.to_string()));
    }
    if let Some(version) = known.version {
        attributes.push(KeyValue::new(PROTOCOL_VERSION, version));
    }
    if let Some(authority) = authority(request) {
        attributes.push(KeyValue::new("server.address", authority.host().to_owned()));
        if let Some(port) = authority.port_u16() {
            attributes.push(KeyValue::new("server.port", i64::from(port)));
        }
    }
    if let Some(ConnectInfo(client)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        attributes.push(KeyValue::new("client.address", client.ip().to_string()));
    }
    let agent = request.headers().get(header::USER_AGENT);
    if let Some(agent) = agent.and_then(|agent| agent.to_str().ok()) {
        attributes.push(KeyValue::new("user_agent.original", agent.to_owned()));
    }
    if let Ok(id) = request_id.to_str() {
        let ids = Array::String(vec![StringValue::from(id.to_owned())]);
        let ids = Value::Array(ids);
        attributes.push(KeyValue::new("http.request.header.x-request-id", ids));
    }
    attributes
}

pub(crate) const OTHER: &str = "_OTHER";

pub(crate) fn method(method: &Method) -> &'static str {
    // By RFC 9110, RFC 5789 (PATCH) and the conventions (QUERY); any other could be anything.
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        "QUERY" => "QUERY",
        _ => OTHER,
    }
}

fn scheme<B>(request: &Request<B>) -> &'static str {
    match request.uri().scheme_str() {
        Some("https") => "https",
        _ => "http",
    }
}

pub(crate) fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_09 => Some("0.9"),
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        Version::HTTP_3 => Some("3"),
        _ => None,
    }
}

/// The path as the client sent it: below `nest`, the request has only the rest of it.
fn path<B>(request: &Request<B>) -> &str {
    match request.extensions().get::<OriginalUri>() {
        Some(OriginalUri(uri)) => uri.path(),
        None => request.uri().path(),
    }
}

/// The `Host` header, or what stands for it in HTTP/2.
fn authority<B>(request: &Request<B>) -> Option<Authority> {
    let host = request.headers().get(header::HOST);
    let authority = match host {
        Some(host) => Authority::try_from(host.as_bytes()).ok(),
        None => request.uri().authority().cloned(),
    };
    // With a user's name it is no `Host` (RFC 9110, 7.2).
    authority.filter(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'))
}
