use std::net::IpAddr;

use crate::http::common::without_brackets;

/// The hosts to which the trace's context is propagated.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(Vec<Box<str>>);

impl Hosts {
    pub(super) fn add(&mut self, host: &str) {
        let name = normalized(host);
        if !is_host(&name) {
            tracing::warn!(
                "propagate_to: {host:?} is not a host, so no request will match it; \
                 write it as `api.example.org`, or `.example.org` for all subdomains, without scheme, port and path"
            );
        }
        self.0.push(name.into());
    }

    /// Whether the host of a URL matches.
    pub(super) fn contains(&self, host: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let host = normalized(host);
        self.0.iter().any(|known| {
            if known.starts_with('.') {
                host.len() > known.len() && host.ends_with(&**known)
            } else {
                host == **known
            }
        })
    }
}

/// In lower case, without the root's trailing dot and without the brackets of an IPv6 address.
fn normalized(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host);
    without_brackets(host).to_ascii_lowercase()
}

fn is_host(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok()
        || (!name.trim_start_matches('.').is_empty()
            && name
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_')))
}

#[cfg(test)]
mod tests {
    use super::{Hosts, is_host, normalized};

    #[test]
    fn a_host_matches_itself_and_a_leading_dot_matches_all_subdomains() {
        let mut hosts = Hosts::default();
        hosts.add("api.example.org");
        hosts.add(".Internal.example.org");
        hosts.add("[::1]");
        for known in [
            "api.example.org",
            "API.example.org.",
            "a.internal.example.org",
            "b.a.internal.example.org",
            "::1",
            "[::1]",
        ] {
            assert!(hosts.contains(known), "{known}");
        }
        for other in [
            "internal.example.org",
            "evil-api.example.org",
            "a.api.example.org",
            "evilinternal.example.org",
            "api.example.org.evil.example",
            "example.org",
            ".internal.example.org",
            "",
        ] {
            assert!(!hosts.contains(other), "{other}");
        }
        assert!(!Hosts::default().contains("api.example.org"));
    }

    #[test]
    fn text_that_cannot_be_the_host_of_a_url_is_detected() {
        for host in [
            "a.example",
            ".a.example",
            "192.0.2.1",
            "[::1]",
            "my_service",
        ] {
            assert!(is_host(&normalized(host)), "{host}");
        }
        for invalid in [
            "",
            ".",
            "https://a.example",
            "a.example:443",
            "*.example",
            "a/b",
        ] {
            assert!(!is_host(&normalized(invalid)), "{invalid}");
        }
    }
}
