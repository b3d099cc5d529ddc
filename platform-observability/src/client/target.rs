//! Where a request goes, in the words of OpenTelemetry's HTTP semantic conventions.

use http::{Extensions, Method, Request, header, uri::Authority};
use opentelemetry::KeyValue;

use super::{ResendCount, UrlTemplate};
use crate::http::OTHER;
use crate::http::attributes::{REQUEST_METHOD, cut};
use crate::query::{REDACTED, Redaction};

/// A request's head, of which nothing is known but where it goes.
pub(super) struct Target<'a> {
    pub(super) method: &'a Method,
    /// What it is told apart as.
    pub(super) method_name: &'static str,
    pub(super) scheme: Option<&'a str>,
    pub(super) has_user: bool,
    /// As in a URL: an IPv6 address has brackets.
    pub(super) host: Option<Host<'a>>,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) template: Option<UrlTemplate>,
    pub(super) resent: Option<ResendCount>,
}

/// From the URL, or, if the connection is the caller's affair, from the `Host` header.
pub(super) enum Host<'a> {
    Url(&'a str, Option<u16>),
    Header(Authority),
}

impl Host<'_> {
    pub(super) fn name(&self) -> &str {
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
    pub(super) fn of<B>(request: &'a Request<B>, method_name: &'static str) -> Self {
        let uri = request.uri();
        let host = match uri.authority() {
            Some(authority) => Some(Host::Url(authority.host(), authority.port_u16())),
            None => request
                .headers()
                .get(header::HOST)
                .and_then(|host| Authority::try_from(host.as_bytes()).ok())
                .map(Host::Header),
        };
        let user = uri.authority().map(Authority::as_str);
        Self {
            method: request.method(),
            method_name,
            scheme: uri.scheme_str(),
            has_user: user.is_some_and(|authority| authority.contains('@')),
            host: host.filter(|host| !host.name().is_empty()),
            path: uri.path(),
            query: uri.query(),
            template: extension(request.extensions()),
            resent: extension(request.extensions()),
        }
    }

    /// `{method} {url.template}`, in which an unknown method is `HTTP`.
    pub(super) fn span_name(&self) -> String {
        let method = match self.method_name {
            OTHER => "HTTP",
            method => method,
        };
        match self.template {
            Some(UrlTemplate(template)) => format!("{method} {template}"),
            None => method.to_owned(),
        }
    }

    /// What spans and durations share, of few different values each.
    pub(super) fn shared_attributes(&self) -> Vec<KeyValue> {
        let mut shared = Vec::with_capacity(8);
        shared.push(KeyValue::new(REQUEST_METHOD, self.method_name));
        if let Some(host) = &self.host {
            let name = host.name();
            let bare = name
                .strip_prefix('[')
                .and_then(|name| name.strip_suffix(']'));
            let name = bare.unwrap_or(name).to_owned();
            shared.push(KeyValue::new("server.address", name));
            if let Some(port) = host.port().or_else(|| default_port(self.scheme)) {
                shared.push(KeyValue::new("server.port", i64::from(port)));
            }
        }
        if let Some(UrlTemplate(template)) = self.template {
            shared.push(KeyValue::new("url.template", template));
        }
        shared
    }

    /// What only the span gets.
    pub(super) fn span_attributes(&self, redaction: &Redaction) -> Vec<KeyValue> {
        let mut own = Vec::with_capacity(3);
        if self.method_name == OTHER {
            let original = self.method.as_str().to_owned();
            own.push(KeyValue::new("http.request.method_original", original));
        }
        if let Some(url) = self.url(redaction) {
            own.push(KeyValue::new("url.full", url));
        }
        if let Some(ResendCount(count @ 1..)) = self.resent {
            own.push(KeyValue::new("http.request.resend_count", i64::from(count)));
        }
        own
    }

    /// The URL, without what is not to be recorded; none if the request does not have all of it.
    fn url(&self, redaction: &Redaction) -> Option<String> {
        let (scheme, host) = (self.scheme?, self.host.as_ref()?);
        let mut url = format!("{scheme}://");
        if self.has_user {
            url.extend([REDACTED, ":", REDACTED, "@"]);
        }
        url.push_str(host.name());
        if let Some(port) = host.port() {
            url.push(':');
            url.push_str(&port.to_string());
        }
        url.push_str(cut(self.path));
        if let Some(query) = self.query {
            url.push('?');
            redaction.write(cut(query), &mut url);
        }
        url.truncate(cut(&url).len());
        Some(url)
    }
}

pub(super) fn extension<T: Copy + Send + Sync + 'static>(extensions: &Extensions) -> Option<T> {
    extensions.get::<T>().copied()
}

fn default_port(scheme: Option<&str>) -> Option<u16> {
    match scheme {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    }
}
