//! The client's address from `Forwarded` (RFC 7239), for generated headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request};
use platform_observability::http::{ForwardedBy, TrustedProxies};
use proptest::prelude::*;

const PROXY: &str = "10.0.0.1";

fn client_address(peer: IpAddr, lines: &[HeaderValue]) -> IpAddr {
    let mut request = Request::new(());
    for line in lines {
        request.headers_mut().append("forwarded", line.clone());
    }
    let peer = ConnectInfo(SocketAddr::new(peer, 443));
    request.extensions_mut().insert(peer);
    let (parts, ()) = request.into_parts();
    let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()], ForwardedBy::Forwarded);
    proxies.client_address(&parts).unwrap()
}

fn is_proxy(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets()[0] == 10)
}

/// A third of the addresses are those of proxies.
fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 3]>().prop_map(|[a, b, c]| Ipv4Addr::new(10, a, b, c).into()),
        any::<u32>().prop_map(|bits| Ipv4Addr::from(bits).into()),
        any::<u128>().prop_map(|bits| Ipv6Addr::from(bits).to_canonical()),
    ]
}

/// A hop, and a `Forwarded` element for it in one of the forms that the grammar allows.
fn hop() -> impl Strategy<Value = (IpAddr, String)> {
    let name = prop::sample::select(vec!["for", "For", "FOR"]);
    let port = prop::sample::select(vec!["", ":1", ":47011", ":_hidden"]);
    let rest = prop::sample::select(vec!["", ";proto=https", ";by=_p;host=\"a,b;c:80\""]);
    let parts = (address(), name, port, any::<bool>(), rest, any::<bool>());
    parts.prop_map(|(address, name, port, quoted, rest, before)| {
        let node = match address {
            IpAddr::V4(address) => format!("{address}{port}"),
            IpAddr::V6(address) => format!("[{address}]{port}"),
        };
        // The grammar requires quotes around a colon or brackets.
        let node = if quoted || node.contains([':', '[']) {
            format!("\"{node}\"")
        } else {
            node
        };
        let element = if before {
            format!(
                "{}{name}={node}",
                rest.replacen(';', "", 1) + if rest.is_empty() { "" } else { ";" }
            )
        } else {
            format!("{name}={node}{rest}")
        };
        (address, element)
    })
}

proptest! {
    #[test]
    fn the_client_is_the_last_hop_that_is_not_a_proxy(
        peer in address(),
        lines in prop::collection::vec(prop::collection::vec(hop(), 1..4), 0..4),
    ) {
        let mut expected = peer;
        for (hop, _) in lines.iter().flatten().rev() {
            if !is_proxy(expected) {
                break;
            }
            expected = *hop;
        }
        let headers: Vec<_> = lines
            .iter()
            .map(|hops| {
                let elements: Vec<_> = hops.iter().map(|(_, element)| element.as_str()).collect();
                HeaderValue::from_str(&elements.join(", ")).unwrap()
            })
            .collect();
        prop_assert_eq!(client_address(peer, &headers), expected, "{:?}", headers);
    }

    /// The client sends arbitrary bytes, such as an unclosed quote. The proxy appends its element.
    #[test]
    fn a_client_cannot_choose_its_address(
        sent in "[ -~\u{80}-\u{ff}]{0,40}",
        pieces in prop::collection::vec(
            prop::sample::select(vec!["for=", "\"", "\\", ",", ";", "10.0.0.7", "8.8.8.8", "="]),
            0..12,
        ),
        same_line in any::<bool>(),
    ) {
        let client: IpAddr = "203.0.113.9".parse().unwrap();
        for sent in [sent, pieces.concat()] {
            let appended = format!("for={client}");
            let lines = if same_line {
                vec![format!("{sent},{appended}")]
            } else {
                vec![sent, appended]
            };
            let lines: Vec<_> = lines
                .iter()
                .map(|line| HeaderValue::from_bytes(line.as_bytes()).unwrap())
                .collect();
            let proxy = PROXY.parse().unwrap();
            prop_assert_eq!(client_address(proxy, &lines), client, "{:?}", lines);
        }
    }
}
