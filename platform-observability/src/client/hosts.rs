use std::net::IpAddr;

/// The hosts that are told the trace's context.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(Vec<Box<str>>);

impl Hosts {
    pub(super) fn add(&mut self, host: &str) {
        let name = normalized(host);
        if !is_host(&name) {
            tracing::warn!(
                "propagate_to: {host:?} is no host, so that no request will match it; \
                 write it as `api.example.org`, or `.example.org` for all below it, without scheme, port and path"
            );
        }
        self.0.push(name.into());
    }

    /// Whether the host, as a URL has it, is one of them.
    pub(super) fn contain(&self, host: &str) -> bool {
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

/// In lower case, without the root's dot and an IPv6 address' brackets.
fn normalized(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host);
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host).to_ascii_lowercase()
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
    fn a_name_is_itself_and_a_dot_means_all_below() {
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
            assert!(hosts.contain(known), "{known}");
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
            assert!(!hosts.contain(other), "{other}");
        }
        assert!(!Hosts::default().contain("api.example.org"));
    }

    #[test]
    fn what_no_url_has_as_a_host_is_noticed() {
        for host in [
            "a.example",
            ".a.example",
            "192.0.2.1",
            "[::1]",
            "my_service",
        ] {
            assert!(is_host(&normalized(host)), "{host}");
        }
        for no in [
            "",
            ".",
            "https://a.example",
            "a.example:443",
            "*.example",
            "a/b",
        ] {
            assert!(!is_host(&normalized(no)), "{no}");
        }
    }
}
