//! Who the client is, behind proxies that are trusted to say so.

use std::net::{IpAddr, SocketAddr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The last address that no trusted proxy has: of `peer`, the connection's other end, and what
/// the proxies wrote before it.
pub(super) fn client_address(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| {
        let address = address.to_canonical();
        trusted.iter().any(|network| network.contains(&address))
    };
    if !is_trusted(peer) {
        return peer;
    }
    let (name, read): (_, fn(&str) -> Option<IpAddr>) = if headers.contains_key(FORWARDED) {
        (FORWARDED, forwarded_for)
    } else {
        (X_FORWARDED_FOR, address)
    };
    let mut last = peer;
    // From the nearest proxy outwards: each wrote the one before it at the end.
    for line in headers.get_all(name).iter().rev() {
        let Ok(line) = line.to_str() else { break };
        for hop in line.rsplit(',') {
            // What is not an address (`unknown`, `_hidden`) hides all before it.
            let Some(hop) = read(hop.trim()) else {
                return last;
            };
            last = hop;
            if !is_trusted(hop) {
                return hop;
            }
        }
    }
    last
}

/// The `for` of a `Forwarded` element (RFC 7239, section 4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let node = element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    })?;
    address(node.trim().trim_matches('"'))
}

/// An address, perhaps with a port; IPv6 then stands in brackets.
fn address(node: &str) -> Option<IpAddr> {
    let bare = node
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(node)
        .parse()
        .ok()
        .or_else(|| node.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::client_address;

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect();
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        client_address(&headers, peer.parse().unwrap(), &trusted).to_string()
    }

    #[test]
    fn nobody_but_a_trusted_proxy_is_believed() {
        let forged = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=2.2.2.2")];
        assert_eq!(client("203.0.113.9", &forged), "203.0.113.9");
        assert_eq!(client("203.0.113.9", &[]), "203.0.113.9");
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_clients() {
        for (headers, expected) in [
            (vec![], "10.0.0.1"),
            (vec![("x-forwarded-for", "203.0.113.9")], "203.0.113.9"),
            // What the client itself sent stands before what the proxy saw.
            (
                vec![("x-forwarded-for", "1.1.1.1, 203.0.113.9, 10.2.0.7")],
                "203.0.113.9",
            ),
            (vec![("x-forwarded-for", "203.0.113.9:1234")], "203.0.113.9"),
            (vec![("x-forwarded-for", "[2001:db8::1]:80")], "2001:db8::1"),
            (
                vec![("x-forwarded-for", "1.1.1.1, unknown, 10.2.0.7")],
                "10.2.0.7",
            ),
            (vec![("x-forwarded-for", "10.3.0.1, 10.2.0.7")], "10.3.0.1"),
            (
                vec![(
                    "forwarded",
                    "for=1.1.1.1;proto=https, For=\"[2001:db8::1]:47011\";by=10.0.0.2",
                )],
                "2001:db8::1",
            ),
            (vec![("forwarded", "for=_hidden")], "10.0.0.1"),
            (vec![("forwarded", "proto=https")], "10.0.0.1"),
            // One header of the two: a proxy that writes Forwarded may pass the other on unseen.
            (
                vec![
                    ("forwarded", "for=203.0.113.9"),
                    ("x-forwarded-for", "1.1.1.1"),
                ],
                "203.0.113.9",
            ),
            (vec![("x-forwarded-for", "")], "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", &headers), expected, "{headers:?}");
            assert_eq!(
                client("::ffff:10.0.0.1", &headers).trim_start_matches("::ffff:"),
                expected,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn several_lines_are_one_list() {
        let mut headers = HeaderMap::new();
        for line in ["1.1.1.1", "203.0.113.9, 10.1.0.1", "10.2.0.1"] {
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let client = client_address(&headers, "10.0.0.1".parse().unwrap(), &trusted);
        assert_eq!(client.to_string(), "203.0.113.9");
    }
}
