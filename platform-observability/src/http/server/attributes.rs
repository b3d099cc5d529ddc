//! The attributes of a request's span, by OpenTelemetry's HTTP semantic conventions.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, OriginalUri};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version, header};
use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_semantic_conventions::attribute as attr;

use super::proxies::ForwardedClient;
use super::route::{RouteEntry, Scheme};
use super::state::Options;
use crate::http::common::{
    MAX_VALUE_BYTES, OTHER, address_text, bracketed, peer_attributes, protocol_version, truncate,
};

/// The attributes that are known when the request arrives.
pub(super) fn request_attributes<B>(
    request: &Request<B>,
    route: &RouteEntry,
    (client, scheme): (ForwardedClient<'_>, Scheme),
    request_id: &HeaderValue,
    options: &Options,
) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(16);
    attributes.push(KeyValue::new(attr::HTTP_REQUEST_METHOD, route.method));
    if route.method == OTHER {
        let original = truncate(request.method().as_str()).to_owned();
        attributes.push(KeyValue::new(attr::HTTP_REQUEST_METHOD_ORIGINAL, original));
    }
    attributes.push(KeyValue::new(attr::URL_SCHEME, scheme.as_str()));
    let uri = original_uri(request);
    attributes.push(KeyValue::new(
        attr::URL_PATH,
        truncate(uri.path()).to_owned(),
    ));
    if let Some(query) = uri.query() {
        let query = truncate(query);
        let mut redacted = String::with_capacity(query.len());
        options.query.write(query, &mut redacted);
        redacted.truncate(truncate(&redacted).len());
        attributes.push(KeyValue::new(attr::URL_QUERY, redacted));
    }
    if let Some(template) = &route.template {
        attributes.push(KeyValue::new(attr::HTTP_ROUTE, Arc::clone(template)));
    }
    if let Some(version) = protocol_version(request.version()) {
        attributes.push(KeyValue::new(attr::NETWORK_PROTOCOL_VERSION, version));
    }
    if let Some((host, port)) = server(request, client.authority) {
        attributes.push(KeyValue::new(
            attr::SERVER_ADDRESS,
            truncate(host).to_owned(),
        ));
        if let Some(port) = port {
            attributes.push(KeyValue::new(attr::SERVER_PORT, i64::from(port)));
        }
    }
    if let Some(peer) = peer(request) {
        let address = address_text(peer.ip());
        let client = match client.address {
            Some(client) if client != peer.ip() => address_text(client),
            _ => Arc::clone(&address),
        };
        attributes.push(KeyValue::new(attr::CLIENT_ADDRESS, client));
        attributes.extend(peer_attributes(address, peer.port()));
    }
    let agent = request.headers().get(header::USER_AGENT);
    if let Some(agent) = agent.and_then(|agent| agent.to_str().ok()) {
        let agent = truncate(agent).to_owned();
        attributes.push(KeyValue::new(attr::USER_AGENT_ORIGINAL, agent));
    }
    if let Ok(id) = request_id.to_str() {
        let id = string_array([id]);
        attributes.push(KeyValue::new("http.request.header.x-request-id", id));
    }
    extend_with_headers(&mut attributes, request.headers(), &options.request_headers);
    attributes
}

/// The address of the connection's remote end.
#[inline]
fn peer<B>(request: &Request<B>) -> Option<SocketAddr> {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map(|ConnectInfo(peer)| *peer)
}

/// The client as trusted proxies report it, and the scheme of its request.
#[inline]
pub(super) fn client_and_scheme<'a, B>(
    request: &'a Request<B>,
    options: &Options,
) -> (ForwardedClient<'a>, Scheme) {
    let peer = || peer(request).map(|peer| peer.ip());
    let client = options.proxies.client(request.headers(), peer);
    // In HTTP/1, a target with a scheme is meant for a proxy: clients may write anything there.
    let target_scheme = || match request.version() {
        Version::HTTP_09 | Version::HTTP_10 | Version::HTTP_11 => None,
        _ => request.uri().scheme_str(),
    };
    let is_https = |scheme: &str| {
        // Some proxies write `wss` for WebSockets.
        scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss")
    };
    let scheme = match client.scheme.or_else(target_scheme) {
        Some(scheme) if is_https(scheme) => Scheme::Https,
        _ => Scheme::Http,
    };
    (client, scheme)
}

/// Appends the headers that `recorded` selects.
pub(super) fn extend_with_headers(
    attributes: &mut Vec<KeyValue>,
    headers: &HeaderMap,
    recorded: &[(HeaderName, String)],
) {
    for (name, attribute) in recorded {
        let values = headers.get_all(name).iter();
        let values = values.filter_map(|value| value.to_str().ok()).map(truncate);
        let mut bytes = 0;
        let mut values = values
            .take_while(|value| {
                let added = size_of::<StringValue>() + value.len();
                let fits = bytes == 0 || bytes + added <= MAX_VALUE_BYTES;
                bytes += added;
                fits
            })
            .peekable();
        if values.peek().is_some() {
            attributes.push(KeyValue::new(attribute.clone(), string_array(values)));
        }
    }
}

fn string_array<'a>(values: impl IntoIterator<Item = &'a str>) -> Value {
    let values = values.into_iter();
    let values = values.map(|value| StringValue::from(value.to_owned()));
    Value::Array(Array::String(values.collect()))
}

/// The target that the client sent: inside `Router::nest`, the request's own lacks the prefix.
pub(super) fn original_uri<B>(request: &Request<B>) -> &Uri {
    match request.extensions().get::<OriginalUri>() {
        Some(OriginalUri(uri)) => uri,
        None => request.uri(),
    }
}

/// The requested host and port: as trusted proxies report them, else from the target (in HTTP/2
/// `:authority`), which overrides the `Host` header (RFC 9112, 3.2.2), else from that header.
fn server<'a, B>(
    request: &'a Request<B>,
    forwarded: Option<&'a str>,
) -> Option<(&'a str, Option<u16>)> {
    forwarded.and_then(host_and_port).or_else(|| {
        let authority = match request.uri().authority() {
            Some(authority) => authority.as_str(),
            None => request.headers().get(header::HOST)?.to_str().ok()?,
        };
        host_and_port(authority)
    })
}

/// Parses `uri-host [ ":" port ]` (RFC 9110, 7.2), in which an IPv6 address is in brackets.
fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let host = bracketed(host).unwrap_or(host);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:%!$&'()*+,;=".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_host) {
        return None;
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Some((host, None)),
        // An empty port stands for the scheme's default.
        Some("") => Some((host, None)),
        Some(port) => Some((host, Some(port.parse().ok()?))),
        None => None,
    }
}
