//! The HTTP methods that are told apart.

use http::Method;

/// What any other method is called.
pub(crate) const OTHER: &str = "_OTHER";

/// By RFC 9110, RFC 5789 (PATCH) and the conventions (QUERY).
static KNOWN: [Method; 10] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::HEAD,
    Method::OPTIONS,
    Method::CONNECT,
    Method::TRACE,
    Method::QUERY,
];

/// The methods that are told apart in spans and metrics; any other could be anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Methods(&'static [Method]);

impl Default for Methods {
    fn default() -> Self {
        Self(&KNOWN)
    }
}

impl Methods {
    /// These, and no others.
    pub(crate) fn only(methods: Vec<Method>) -> Self {
        // Leaked, as it is said once for the process's life, and attributes borrow the names for free.
        Self(methods.leak())
    }

    #[inline]
    pub(crate) fn name(self, method: &Method) -> &'static str {
        let known = self.0.iter().find(|known| *known == method);
        known.map_or(OTHER, Method::as_str)
    }
}
