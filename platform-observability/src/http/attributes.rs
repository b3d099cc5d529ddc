//! What is known of a request, in the words of OpenTelemetry's HTTP semantic conventions.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, OriginalUri};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version, header};
use opentelemetry::{Array, KeyValue, StringValue, Value};

use super::endpoint::Endpoint;
use super::layer::Options;
use super::methods::OTHER;
use super::proxies::Client;

pub(crate) const REQUEST_METHOD: &str = "http.request.method";
pub(crate) const RESPONSE_STATUS_CODE: &str = "http.response.status_code";
pub(super) const ROUTE: &str = "http.route";
pub(crate) const ERROR_TYPE: &str = "error.type";
pub(super) const URL_SCHEME: &str = "url.scheme";
pub(crate) const PROTOCOL_VERSION: &str = "network.protocol.version";

/// How many bytes of what a client chooses are recorded, of each attribute: as many spans as the queue
/// holds are to fit into memory, whoever sends what.
const LONGEST: usize = 4096;

/// The first of `text`, [`LONGEST`] bytes at most.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

/// The attributes of a span when the request arrives.
pub(super) fn on_request<B>(
    request: &Request<B>,
    endpoint: &Endpoint,
    (client, scheme): (Client<'_>, Scheme),
    request_id: &HeaderValue,
    options: &Options,
) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(16);
    attributes.push(KeyValue::new(REQUEST_METHOD, endpoint.method));
    if endpoint.method == OTHER {
        let original = cut(request.method().as_str()).to_owned();
        attributes.push(KeyValue::new("http.request.method_original", original));
    }
    attributes.push(KeyValue::new(URL_SCHEME, scheme.as_str()));
    let uri = original_uri(request);
    attributes.push(KeyValue::new("url.path", cut(uri.path()).to_owned()));
    if let Some(query) = uri.query() {
        let query = cut(query);
        let mut recorded = String::with_capacity(query.len());
        options.query.write(query, &mut recorded);
        recorded.truncate(cut(&recorded).len());
        attributes.push(KeyValue::new("url.query", recorded));
    }
    if let Some(route) = &endpoint.route {
        attributes.push(KeyValue::new(ROUTE, Arc::clone(route)));
    }
    if let Some(version) = version(request.version()) {
        attributes.push(KeyValue::new(PROTOCOL_VERSION, version));
    }
    if let Some((host, port)) = server(request, client.authority) {
        attributes.push(KeyValue::new("server.address", cut(host).to_owned()));
        if let Some(port) = port {
            attributes.push(KeyValue::new("server.port", i64::from(port)));
        }
    }
    if let Some(peer) = peer(request) {
        let address = text(peer.ip());
        let client = match client.address {
            Some(client) if client != peer.ip() => text(client),
            _ => Arc::clone(&address),
        };
        attributes.push(KeyValue::new("client.address", client));
        attributes.extend(of_peer(address, peer.port()));
    }
    let agent = request.headers().get(header::USER_AGENT);
    if let Some(agent) = agent.and_then(|agent| agent.to_str().ok()) {
        attributes.push(KeyValue::new("user_agent.original", cut(agent).to_owned()));
    }
    if let Ok(id) = request_id.to_str() {
        let id = list([id]);
        attributes.push(KeyValue::new("http.request.header.x-request-id", id));
    }
    headers(request.headers(), &options.request_headers, &mut attributes);
    attributes
}

/// The connection's other end.
#[inline]
fn peer<B>(request: &Request<B>) -> Option<SocketAddr> {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map(|ConnectInfo(peer)| *peer)
}

/// What is said of a connection's other end.
pub(crate) fn of_peer(address: Arc<str>, port: u16) -> [KeyValue; 2] {
    [
        KeyValue::new("network.peer.address", address),
        KeyValue::new("network.peer.port", i64::from(port)),
    ]
}

/// What proxies say of the client, and the scheme that it asked with, as far as that is known.
#[inline]
pub(super) fn client<'a, B>(request: &'a Request<B>, options: &Options) -> (Client<'a>, Scheme) {
    let peer = || peer(request).map(|peer| peer.ip());
    let client = options.proxies.client(request.headers(), peer);
    // In HTTP/1 a target with a scheme is meant for a proxy: a client may write there what it likes.
    let asked = || match request.version() {
        Version::HTTP_09 | Version::HTTP_10 | Version::HTTP_11 => None,
        _ => request.uri().scheme_str(),
    };
    let is_https = |scheme: &str| {
        // As proxies write it of WebSockets, too.
        scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss")
    };
    let scheme = match client.scheme.or_else(asked) {
        Some(scheme) if is_https(scheme) => Scheme::Https,
        _ => Scheme::Http,
    };
    (client, scheme)
}

/// Adds those of `headers` that `chosen` names.
pub(super) fn headers(
    headers: &HeaderMap,
    chosen: &[(HeaderName, String)],
    attributes: &mut Vec<KeyValue>,
) {
    for (name, attribute) in chosen {
        let values = headers.get_all(name).iter();
        let values = values.filter_map(|value| value.to_str().ok()).map(cut);
        let mut bytes = 0;
        let mut values = values
            .take_while(|value| {
                let more = size_of::<StringValue>() + value.len();
                let fits = bytes == 0 || bytes + more <= LONGEST;
                bytes += more;
                fits
            })
            .peekable();
        if values.peek().is_some() {
            attributes.push(KeyValue::new(attribute.clone(), list(values)));
        }
    }
}

fn list<'a>(values: impl IntoIterator<Item = &'a str>) -> Value {
    let values = values.into_iter();
    let values = values.map(|value| StringValue::from(value.to_owned()));
    Value::Array(Array::String(values.collect()))
}

pub(crate) fn text(address: IpAddr) -> Arc<str> {
    // A listener for both families sees IPv4 inside IPv6.
    Arc::from(address.to_canonical().to_string())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
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

/// The target as the client sent it: below `nest`, the request has only the rest of its path.
fn original_uri<B>(request: &Request<B>) -> &Uri {
    match request.extensions().get::<OriginalUri>() {
        Some(OriginalUri(uri)) => uri,
        None => request.uri(),
    }
}

/// Host and port that the client asked for: as proxies `told`, else of the target (`:authority` in
/// HTTP/2), before which the `Host` header does not count (RFC 9112, 3.2.2), else of that.
fn server<'a, B>(request: &'a Request<B>, told: Option<&'a str>) -> Option<(&'a str, Option<u16>)> {
    told.and_then(host_and_port).or_else(|| {
        let authority = match request.uri().authority() {
            Some(authority) => authority.as_str(),
            None => request.headers().get(header::HOST)?.to_str().ok()?,
        };
        host_and_port(authority)
    })
}

/// Of `uri-host [ ":" port ]` (RFC 9110, 7.2), in which the host of IPv6 stands in brackets.
fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_host = |it: u8| it.is_ascii_alphanumeric() || b"-._~:%!$&'()*+,;=".contains(&it);
    if bare.is_empty() || !bare.bytes().all(is_host) {
        return None;
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Some((bare, None)),
        // An empty port is the scheme's.
        Some("") => Some((bare, None)),
        Some(port) => Some((bare, Some(port.parse().ok()?))),
        None => None,
    }
}
