use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, OriginalUri};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, StatusCode, Version, header};
use opentelemetry::KeyValue;
use opentelemetry_http::HeaderExtractor;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::layer::Shared;
use crate::subscriber::ACCESS;

/// One request's span and duration; ends when the response is known or when it is dropped.
pub(super) struct Observation {
    shared: Arc<Shared>,
    span: Span,
    started: Instant,
    method: &'static str,
    scheme: &'static str,
    version: Option<&'static str>,
    route: Option<String>,
    ended: bool,
}

impl Observation {
    pub(super) fn begin<B>(
        shared: Arc<Shared>,
        request: &Request<B>,
        request_id: &HeaderValue,
    ) -> Self {
        let method = known_method(request.method());
        let route = request
            .extensions()
            .get::<MatchedPath>()
            .map(|path| path.as_str().to_owned());
        let uri = request
            .extensions()
            .get::<OriginalUri>()
            .map_or_else(|| request.uri(), |uri| &uri.0);
        let scheme = match uri.scheme_str() {
            Some("https") => "https",
            _ => "http",
        };
        let version = protocol_version(request.version());

        let span = tracing::info_span!(
            "request",
            otel.name = Empty,
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method,
            http.request.method_original = Empty,
            http.route = Empty,
            http.response.status_code = Empty,
            url.path = Empty,
            url.scheme = scheme,
            server.address = Empty,
            server.port = Empty,
            client.address = Empty,
            user_agent.original = Empty,
            network.protocol.version = version,
            error.r#type = Empty,
            request_id = Empty,
        );
        if !span.is_disabled() {
            // Only fails without our subscriber, and then there is no trace to continue.
            let _ = span.set_parent(
                shared
                    .propagator
                    .extract(&HeaderExtractor(request.headers())),
            );
            let name: Cow<'_, str> = match &route {
                Some(route) => format!("{} {route}", span_method(method)).into(),
                None => span_method(method).into(),
            };
            span.record("otel.name", &*name);
            if method == OTHER {
                span.record("http.request.method_original", request.method().as_str());
            }
            if let Some(route) = &route {
                span.record("http.route", route);
            }
            span.record("url.path", uri.path());
            if let Some((address, port)) = server(request) {
                span.record("server.address", address);
                port.map(|port| span.record("server.port", i64::from(port)));
            }
            if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
                span.record("client.address", peer.ip().to_string());
            }
            if let Some(agent) = request
                .headers()
                .get(header::USER_AGENT)
                .and_then(|agent| agent.to_str().ok())
            {
                span.record("user_agent.original", agent);
            }
            if let Ok(request_id) = request_id.to_str() {
                span.record("request_id", request_id);
            }
        }
        Self {
            shared,
            span,
            started: Instant::now(),
            method,
            scheme,
            version,
            route,
            ended: false,
        }
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    pub(super) fn responded(&mut self, status: StatusCode) {
        self.span
            .record("http.response.status_code", i64::from(status.as_u16()));
        // The conventions call a 4xx no error of the server.
        let error = status.is_server_error().then(|| status.as_str().to_owned());
        self.end(Some(status), error.map(Cow::Owned), true);
    }

    /// The service inside ended without a response.
    pub(super) fn failed(&mut self) {
        self.end(None, Some("_OTHER".into()), true);
    }

    fn end(&mut self, status: Option<StatusCode>, error: Option<Cow<'static, str>>, servers: bool) {
        self.ended = true;
        let elapsed = self.started.elapsed();
        let mut attributes = Vec::with_capacity(6);
        attributes.push(KeyValue::new("http.request.method", self.method));
        attributes.push(KeyValue::new("url.scheme", self.scheme));
        if let Some(version) = self.version {
            attributes.push(KeyValue::new("network.protocol.version", version));
        }
        if let Some(route) = self.route.take() {
            attributes.push(KeyValue::new("http.route", route));
        }
        if let Some(status) = status {
            attributes.push(KeyValue::new(
                "http.response.status_code",
                i64::from(status.as_u16()),
            ));
        }
        if let Some(error) = &error {
            self.span.record("error.type", &**error);
            if servers {
                self.span.record("otel.status_code", "ERROR");
            }
            attributes.push(KeyValue::new("error.type", error.clone()));
        }
        self.shared
            .duration
            .record(elapsed.as_secs_f64(), &attributes);
        let _entered = self.span.enter();
        tracing::info!(
            target: ACCESS,
            status = status.map(|status| status.as_u16()),
            error = error.as_deref(),
            milliseconds = elapsed.as_millis() as u64,
            "answered"
        );
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if self.ended {
        } else if std::thread::panicking() {
            self.end(None, Some("panic".into()), true);
        } else {
            self.end(None, Some("cancelled".into()), false);
        }
    }
}

/// What the conventions call a method that they do not list.
const OTHER: &str = "_OTHER";

/// The method as an attribute: the conventions' list is closed, lest a client make up values.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "CONNECT" => "CONNECT",
        "DELETE" => "DELETE",
        "GET" => "GET",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        "POST" => "POST",
        "PUT" => "PUT",
        "TRACE" => "TRACE",
        _ => OTHER,
    }
}

/// The method in a span's name.
fn span_method(method: &'static str) -> &'static str {
    if method == OTHER { "HTTP" } else { method }
}

fn protocol_version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_09 => Some("0.9"),
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        Version::HTTP_3 => Some("3"),
        _ => None,
    }
}

/// The host that the client asked for, and its port.
fn server<B>(request: &Request<B>) -> Option<(String, Option<u16>)> {
    let named = request.uri().authority().cloned();
    let asked = || {
        request
            .headers()
            .get(header::HOST)?
            .to_str()
            .ok()?
            .parse::<Authority>()
            .ok()
    };
    let authority = named.or_else(asked)?;
    Some((authority.host().to_owned(), authority.port_u16()))
}
