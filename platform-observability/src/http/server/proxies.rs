//! The client behind trusted proxies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use http::header::FORWARDED;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::http::common::{bracketed, without_brackets};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The headers in which the proxies in front of a service report the client.
///
/// A proxy may pass on the headers that it does not set itself. A layer that accepted either kind
/// would therefore let a client choose its own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedBy {
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`, which most proxies set.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The trusted proxies in front of a service; none by default.
///
/// [`HttpLayer::trusted_proxies`](crate::http::HttpLayer::trusted_proxies) applies them to
/// telemetry. Other code that needs the client's address, such as an audit log or a rate limiter,
/// gets the same address from this type.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    /// `None` if there are no proxies.
    header: Option<ForwardedBy>,
}

/// The client as trusted proxies report it; empty without proxies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ForwardedClient<'a> {
    /// The last address that is not a trusted proxy's, in the list of the reported addresses
    /// followed by the connection's.
    pub(super) address: Option<IpAddr>,
    pub(super) scheme: Option<&'a str>,
    /// The requested host, perhaps with a port.
    pub(super) authority: Option<&'a str>,
}

impl TrustedProxies {
    /// Trusts the proxies in `networks`, such as `10.0.0.0/8`, and the kind of headers that they
    /// set, `by`.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = IpNet>, by: ForwardedBy) -> Self {
        let mut proxies = Self::default();
        proxies.trust(networks, by);
        proxies
    }

    /// The client's address: the last one that is not a trusted proxy's, in the list of the
    /// reported addresses followed by the connection's. `None` if the request has no axum
    /// `ConnectInfo<SocketAddr>`.
    #[must_use]
    pub fn client_address(&self, request: &Parts) -> Option<IpAddr> {
        let info = request.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = info.map(|ConnectInfo(peer)| peer.ip())?;
        let client = self.client(&request.headers, || Some(peer));
        Some(client.address.unwrap_or(peer).to_canonical())
    }

    pub(super) fn trust(&mut self, networks: impl IntoIterator<Item = IpNet>, by: ForwardedBy) {
        self.networks.extend(networks);
        self.header = Some(by);
    }

    /// The client that `headers` report on a connection from `peer`, which is evaluated only if
    /// there are proxies.
    #[inline]
    pub(super) fn client<'a>(
        &self,
        headers: &'a HeaderMap,
        peer: impl FnOnce() -> Option<IpAddr>,
    ) -> ForwardedClient<'a> {
        let Some(by) = self.header else {
            return ForwardedClient::default();
        };
        match (peer().filter(|peer| self.contains(*peer)), by) {
            (Some(peer), ForwardedBy::XForwarded) => self.x_forwarded(headers, peer),
            (Some(peer), ForwardedBy::Forwarded) => self.forwarded(headers, peer),
            (None, _) => ForwardedClient::default(),
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks
            .iter()
            .any(|network| network.contains(&address))
    }

    fn x_forwarded<'a>(&self, headers: &'a HeaderMap, peer: IpAddr) -> ForwardedClient<'a> {
        let mut last = peer;
        let mut hops = 0;
        for hop in elements(headers, &X_FORWARDED_FOR) {
            hops += 1;
            // Nothing before an element without an address (`unknown`) can be trusted.
            let Some(hop) = address(hop) else { break };
            last = hop;
            if !self.contains(hop) {
                break;
            }
        }
        // If each trusted proxy appends an element, the client's own elements precede these.
        let farthest = |name| elements(headers, name).take(hops.max(1)).last();
        ForwardedClient {
            address: Some(last),
            scheme: farthest(&X_FORWARDED_PROTO),
            authority: farthest(&X_FORWARDED_HOST),
        }
    }

    fn forwarded<'a>(&self, headers: &'a HeaderMap, peer: IpAddr) -> ForwardedClient<'a> {
        let mut client = ForwardedClient {
            address: Some(peer),
            ..ForwardedClient::default()
        };
        let elements = lines(headers, &FORWARDED).flat_map(|line| split_unquoted(line, b','));
        for element in elements {
            // The request that this proxy received, from the address in `for`.
            client.scheme = parameter(element, "proto");
            client.authority = parameter(element, "host");
            // Nothing before an element without an address (`unknown`, `_hidden`) can be trusted.
            let Some(hop) = parameter(element, "for").and_then(address) else {
                break;
            };
            client.address = Some(hop);
            if !self.contains(hop) {
                break;
            }
        }
        client
    }
}

/// A header's lines, last first: each proxy appends the address of its own client.
fn lines<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .rev()
        .map(HeaderValue::as_bytes)
}

/// The elements of a header's comma-separated lists, last first.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let elements = lines(headers, name).flat_map(|line| line.rsplit(|byte| *byte == b','));
    elements.map(|element| text(element).unwrap_or_default())
}

/// Elements that are not UTF-8 are ignored; their neighbours are kept.
fn text(bytes: &[u8]) -> Option<&str> {
    str::from_utf8(bytes).ok().map(str::trim)
}

/// The parts between `separator`s outside quoted strings (RFC 9110, 5.6.4), last first.
///
/// Quotes are paired from the end, which the nearest proxy wrote, so that a quote that a client
/// left open cannot swallow the proxies' elements.
fn split_unquoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut quoted = false;
        for (at, byte) in text.iter().enumerate().rev() {
            if *byte == b'"' {
                let escapes = text[..at].iter().rev().take_while(|byte| **byte == b'\\');
                quoted ^= escapes.count() % 2 == 0;
            } else if *byte == separator && !quoted {
                rest = Some(&text[..at]);
                return Some(&text[at + 1..]);
            }
        }
        rest = None;
        Some(text)
    })
}

/// A parameter of a `Forwarded` element (RFC 7239, section 4). `None` if it occurs twice, which
/// the RFC forbids: one of the two is the client's.
fn parameter<'a>(element: &'a [u8], name: &str) -> Option<&'a str> {
    let mut values = split_unquoted(element, b';').filter_map(|pair| {
        let (found, value) = text(pair)?.split_once('=')?;
        let matches = found.trim().eq_ignore_ascii_case(name);
        matches.then(|| value.trim())
    });
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    match value.strip_prefix('"') {
        Some(quoted) => quoted
            .strip_suffix('"')
            .filter(|text| !text.contains(['"', '\\'])),
        None => Some(value).filter(|text| !text.contains('"')),
    }
}

/// Parses an address with an optional port; with a port, IPv6 is in brackets.
fn address(node: &str) -> Option<IpAddr> {
    let address = without_brackets(node).parse().ok();
    // The port may be an obfuscated identifier (`_port`, RFC 7239, 6.3).
    address.or_else(|| {
        let (host, _port) = node.rsplit_once(':')?;
        match bracketed(host) {
            Some(host) => host.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        }
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{ForwardedBy, ForwardedClient, TrustedProxies};

    fn client(by: ForwardedBy, peer: &str, headers: &[(&'static str, &str)]) -> String {
        let (client, _) = reported(by, peer, headers);
        client
    }

    /// The client's address, scheme and host.
    fn reported(
        by: ForwardedBy,
        peer: &str,
        headers: &[(&'static str, &str)],
    ) -> (String, (Option<String>, Option<String>)) {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let mut proxies = TrustedProxies::default();
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        proxies.trust(networks, by);
        let ForwardedClient {
            address,
            scheme,
            authority,
        } = proxies.client(&all, || peer.parse().ok());
        let rest = (scheme.map(str::to_owned), authority.map(str::to_owned));
        let address = address.map(|address| address.to_canonical().to_string());
        (address.unwrap_or("unknown".to_owned()), rest)
    }

    const BOTH: [ForwardedBy; 2] = [ForwardedBy::XForwarded, ForwardedBy::Forwarded];

    #[test]
    fn forwarding_headers_are_ignored_unless_a_trusted_proxy_sent_them() {
        let forged = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("forwarded", "for=2.2.2.2;proto=https;host=evil.example"),
        ];
        for by in BOTH {
            let nothing = ("unknown".to_owned(), (None, None));
            assert_eq!(reported(by, "203.0.113.9", &forged), nothing);
            assert_eq!(reported(by, "203.0.113.9", &[]), nothing);
        }
        let all = forged.iter();
        let all: HeaderMap = all
            .map(|(name, value)| {
                let value = HeaderValue::from_static(value);
                (HeaderName::from_static(name), value)
            })
            .collect();
        let none = TrustedProxies::default();
        let client = none.client(&all, || "10.0.0.1".parse().ok());
        assert_eq!(client, ForwardedClient::default());
        let mut trusting = TrustedProxies::default();
        trusting.trust(["10.0.0.0/8".parse().unwrap()], ForwardedBy::XForwarded);
        assert_eq!(trusting.client(&all, || None), ForwardedClient::default());
    }

    #[test]
    fn a_forwarding_header_that_the_proxies_do_not_set_is_ignored() {
        let forged = [
            ("forwarded", "for=1.1.1.1;proto=https;host=evil.example"),
            ("x-forwarded-for", "203.0.113.9"),
        ];
        let seen = reported(ForwardedBy::XForwarded, "10.0.0.1", &forged);
        assert_eq!(seen, ("203.0.113.9".to_owned(), (None, None)));
        let forged = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("forwarded", "for=203.0.113.9"),
        ];
        let seen = reported(ForwardedBy::Forwarded, "10.0.0.1", &forged);
        assert_eq!(seen, ("203.0.113.9".to_owned(), (None, None)));
    }

    #[test]
    fn the_clients_address_is_the_last_one_that_no_proxy_has() {
        let lists = [
            // The client's own element precedes the address that the proxy saw.
            ("1.1.1.1, 203.0.113.9, 10.2.0.7", "203.0.113.9"),
            ("203.0.113.9", "203.0.113.9"),
            ("203.0.113.9:1234", "203.0.113.9"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("203.0.113.9:_port", "203.0.113.9"),
            ("[2001:db8::1]:_port", "2001:db8::1"),
            ("1.1.1.1, unknown, 10.2.0.7", "10.2.0.7"),
            ("10.3.0.1, 10.2.0.7", "10.3.0.1"),
            ("", "10.0.0.1"),
        ];
        for (list, expected) in lists {
            let elements = list.split(", ").map(|hop| format!("for=\"{hop}\""));
            let elements = elements.collect::<Vec<_>>().join(", ");
            for peer in ["10.0.0.1", "::ffff:10.0.0.1"] {
                let seen = client(ForwardedBy::XForwarded, peer, &[("x-forwarded-for", list)]);
                assert_eq!(seen, expected, "{list}");
                let seen = client(ForwardedBy::Forwarded, peer, &[("forwarded", &elements)]);
                assert_eq!(seen, expected, "{elements}");
            }
        }
        for by in BOTH {
            assert_eq!(client(by, "10.0.0.1", &[]), "10.0.0.1");
        }
        for hidden in ["for=_hidden", "proto=https"] {
            let seen = client(ForwardedBy::Forwarded, "10.0.0.1", &[("forwarded", hidden)]);
            assert_eq!(seen, "10.0.0.1", "{hidden}");
        }
    }

    #[test]
    fn an_element_that_is_not_utf8_hides_only_the_elements_before_it() {
        let lists: [(ForwardedBy, &[u8], &str); 4] = [
            (ForwardedBy::XForwarded, b"\x80, 203.0.113.9", "203.0.113.9"),
            (
                ForwardedBy::XForwarded,
                b"1.1.1.1, \x80, 10.2.0.7",
                "10.2.0.7",
            ),
            (
                ForwardedBy::Forwarded,
                b"for=\x80, for=203.0.113.9",
                "203.0.113.9",
            ),
            (
                ForwardedBy::Forwarded,
                b"for=1.1.1.1, for=10.2.0.7;host=\"\x80\"",
                "1.1.1.1",
            ),
        ];
        for (by, list, expected) in lists {
            let name = match by {
                ForwardedBy::XForwarded => "x-forwarded-for",
                ForwardedBy::Forwarded => "forwarded",
            };
            let name = HeaderName::from_static(name);
            let value = HeaderValue::from_bytes(list).unwrap();
            let headers = HeaderMap::from_iter([(name, value)]);
            let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()], by);
            let client = proxies.client(&headers, || "10.0.0.1".parse().ok());
            let address = client.address.map(|address| address.to_string());
            assert_eq!(address.as_deref(), Some(expected), "{list:?}");
        }
    }

    /// The requested host, which proxies quote, is the client's choice.
    #[test]
    fn text_in_quotes_is_neither_an_element_nor_a_parameter() {
        for (list, expected) in [
            (
                r#"for=203.0.113.9;host="x,for=6.6.6.6";proto=https"#,
                "203.0.113.9",
            ),
            (r#"host="x;for=6.6.6.6";for=203.0.113.9"#, "203.0.113.9"),
            (r#"host="x,for=6.6.6.6\"";for=203.0.113.9"#, "203.0.113.9"),
            // The client's own element precedes, and leaves a quote open.
            (r#"for="6.6.6.6, for=203.0.113.9"#, "203.0.113.9"),
            (r#"for="6.6.6.6\, for=203.0.113.9"#, "203.0.113.9"),
            // It is unknown which of the two the proxy set.
            ("for=6.6.6.6;for=203.0.113.9", "10.0.0.1"),
            (r#"for="6.6.6.6"#, "10.0.0.1"),
            (r#"for=6.6.6.6""#, "10.0.0.1"),
        ] {
            let seen = client(ForwardedBy::Forwarded, "10.0.0.1", &[("forwarded", list)]);
            assert_eq!(seen, expected, "{list}");
        }
    }

    #[test]
    fn several_header_lines_form_one_list() {
        let lines = ["1.1.1.1", "203.0.113.9, 10.1.0.1", "10.2.0.1"];
        let headers = lines.map(|line| ("x-forwarded-for", line));
        let seen = client(ForwardedBy::XForwarded, "10.0.0.1", &headers);
        assert_eq!(seen, "203.0.113.9");
    }

    #[test]
    fn scheme_and_host_are_those_of_the_clients_request() {
        let some = |scheme: &str, host: &str| (Some(scheme.to_owned()), Some(host.to_owned()));
        let (_, seen) = reported(
            ForwardedBy::XForwarded,
            "10.0.0.1",
            &[
                ("x-forwarded-for", "203.0.113.9, 10.2.0.7"),
                ("x-forwarded-proto", "https, http"),
                ("x-forwarded-host", "shop.example:8443, inner"),
            ],
        );
        assert_eq!(seen, some("https", "shop.example:8443"));
        // Proxies that append to what the client sent: one, and two in a row.
        for (addresses, protocols, hosts) in [
            ("203.0.113.9", "http, https", "forged, shop.example:8443"),
            ("", "http, https", "forged, shop.example:8443"),
            (
                "1.1.1.1, 203.0.113.9, 10.2.0.7",
                "ftp, https, http",
                "forged, shop.example:8443, inner",
            ),
        ] {
            let (_, seen) = reported(
                ForwardedBy::XForwarded,
                "10.0.0.1",
                &[
                    ("x-forwarded-for", addresses),
                    ("x-forwarded-proto", protocols),
                    ("x-forwarded-host", hosts),
                ],
            );
            assert_eq!(seen, some("https", "shop.example:8443"), "{addresses}");
        }
        let element = "For=1.1.1.1;proto=ftp;host=forged, \
            for=\"[2001:db8::1]:47011\";by=10.0.0.2;Proto=https;HOST=\"shop.example:8443\", \
            for=10.0.0.2;proto=http;host=inner";
        let (address, seen) = reported(
            ForwardedBy::Forwarded,
            "10.0.0.1",
            &[("forwarded", element)],
        );
        assert_eq!(address, "2001:db8::1");
        assert_eq!(seen, some("https", "shop.example:8443"));
    }

    #[test]
    fn trusted_proxies_return_the_clients_address_for_other_code() {
        let networks = || ["10.0.0.0/8".parse().unwrap()];
        let proxies = TrustedProxies::new(networks(), ForwardedBy::XForwarded);
        let client = |proxies: &TrustedProxies, peer: Option<&str>| {
            let request = http::Request::builder().header("x-forwarded-for", "203.0.113.9");
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            if let Some(peer) = peer {
                let peer: std::net::SocketAddr = peer.parse().unwrap();
                parts.extensions.insert(axum::extract::ConnectInfo(peer));
            }
            let address = proxies.client_address(&parts);
            address.map(|address| address.to_string())
        };
        let some = |address: &str| Some(address.to_owned());
        assert_eq!(client(&proxies, Some("10.0.0.1:1")), some("203.0.113.9"));
        assert_eq!(
            client(&proxies, Some("[::ffff:10.0.0.1]:1")),
            some("203.0.113.9")
        );
        assert_eq!(
            client(&proxies, Some("[::ffff:192.0.2.7]:1")),
            some("192.0.2.7")
        );
        assert_eq!(client(&proxies, None), None);
        let none = TrustedProxies::default();
        assert_eq!(client(&none, Some("10.0.0.1:1")), some("10.0.0.1"));
    }
}
