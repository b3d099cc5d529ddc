//! The destination of a request, and its attributes by OpenTelemetry's HTTP semantic conventions.

use http::{Method, Request, header, uri::Authority};
use opentelemetry::KeyValue;
use opentelemetry_semantic_conventions::attribute as attr;

use super::extensions::{ResendCount, UrlTemplate, extension};
use crate::http::common::{OTHER, QueryRedaction, REDACTED, span_name, truncate, without_brackets};

/// The parts of a request's head that are recorded.
pub(super) struct Target<'a> {
    pub(super) method: &'a Method,
    /// The value of `http.request.method`.
    pub(super) method_name: &'static str,
    pub(super) scheme: Option<&'a str>,
    pub(super) has_user_info: bool,
    /// As in a URL: an IPv6 address is in brackets.
    pub(super) host: Option<Host<'a>>,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) template: Option<UrlTemplate>,
    pub(super) resend_count: Option<ResendCount>,
}

/// A host and port from the URL, or from the `Host` header if the caller manages the connection.
pub(super) enum Host<'a> {
    Url(&'a str, Option<u16>),
    Header(Authority),
}

impl Host<'_> {
    fn name(&self) -> &str {
        match self {
            Host::Url(name, _) => name,
            Host::Header(authority) => authority.host(),
        }
    }

    fn port(&self) -> Option<u16> {
        match self {
            Host::Url(_, port) => *port,
            Host::Header(authority) => authority.port_u16(),
        }
    }
}

impl<'a> Target<'a> {
    pub(super) fn of_request<B>(request: &'a Request<B>, method_name: &'static str) -> Self {
        let uri = request.uri();
        let host = match uri.authority() {
            Some(authority) => Some(Host::Url(authority.host(), authority.port_u16())),
            None => request
                .headers()
                .get(header::HOST)
                .and_then(|host| Authority::try_from(host.as_bytes()).ok())
                .map(Host::Header),
        };
        let authority = uri.authority().map(Authority::as_str);
        Self {
            method: request.method(),
            method_name,
            scheme: uri.scheme_str(),
            has_user_info: authority.is_some_and(|authority| authority.contains('@')),
            host: host.filter(|host| !host.name().is_empty()),
            path: uri.path(),
            query: uri.query(),
            template: extension(request.extensions()),
            resend_count: extension(request.extensions()),
        }
    }

    pub(super) fn span_name(&self) -> String {
        let template = self.template.map(|UrlTemplate(template)| template);
        span_name(self.method_name, template)
    }

    /// The low-cardinality attributes, which the span and the duration share.
    pub(super) fn shared_attributes(&self) -> Vec<KeyValue> {
        let mut shared = Vec::with_capacity(8);
        shared.push(KeyValue::new(attr::HTTP_REQUEST_METHOD, self.method_name));
        if let Some(host) = &self.host {
            let name = without_brackets(host.name()).to_owned();
            shared.push(KeyValue::new(attr::SERVER_ADDRESS, name));
            if let Some(port) = host.port().or_else(|| default_port(self.scheme)) {
                shared.push(KeyValue::new(attr::SERVER_PORT, i64::from(port)));
            }
        }
        if let Some(UrlTemplate(template)) = self.template {
            shared.push(KeyValue::new(attr::URL_TEMPLATE, template));
        }
        shared
    }

    /// The attributes that only the span has.
    pub(super) fn span_attributes(&self, redaction: &QueryRedaction) -> Vec<KeyValue> {
        let mut own = Vec::with_capacity(3);
        if self.method_name == OTHER {
            let original = self.method.as_str().to_owned();
            own.push(KeyValue::new(attr::HTTP_REQUEST_METHOD_ORIGINAL, original));
        }
        if let Some(url) = self.redacted_url(redaction) {
            own.push(KeyValue::new(attr::URL_FULL, url));
        }
        if let Some(ResendCount(count @ 1..)) = self.resend_count {
            own.push(KeyValue::new(
                attr::HTTP_REQUEST_RESEND_COUNT,
                i64::from(count),
            ));
        }
        own
    }

    /// The redacted URL; `None` if the request has no complete URL.
    fn redacted_url(&self, redaction: &QueryRedaction) -> Option<String> {
        let (scheme, host) = (self.scheme?, self.host.as_ref()?);
        let mut url = format!("{scheme}://");
        if self.has_user_info {
            url.extend([REDACTED, ":", REDACTED, "@"]);
        }
        url.push_str(host.name());
        if let Some(port) = host.port() {
            url.push(':');
            url.push_str(&port.to_string());
        }
        url.push_str(truncate(self.path));
        if let Some(query) = self.query {
            url.push('?');
            redaction.write(truncate(query), &mut url);
        }
        url.truncate(truncate(&url).len());
        Some(url)
    }
}

fn default_port(scheme: Option<&str>) -> Option<u16> {
    match scheme {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    }
}
