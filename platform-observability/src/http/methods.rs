//! The HTTP methods that are told apart.

use http::Method;

/// What any other method is called.
pub(crate) const OTHER: &str = "_OTHER";

/// The names of the methods that are told apart in spans and metrics; any other could be anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Methods(&'static [&'static str]);

impl Default for Methods {
    /// By RFC 9110, RFC 5789 (PATCH) and the conventions (QUERY).
    fn default() -> Self {
        Self(&[
            "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "QUERY",
        ])
    }
}

impl Methods {
    /// These, and no others.
    pub(crate) fn only(names: &[&str]) -> Self {
        // Leaked, as it is said once for the process's life, and attributes borrow them for free.
        let names = names.iter().map(|name| &*String::leak((*name).to_owned()));
        Self(Vec::leak(names.collect()))
    }

    pub(crate) fn name(self, method: &Method) -> &'static str {
        let known = self.0.iter().find(|known| **known == method.as_str());
        known.copied().unwrap_or(OTHER)
    }
}
