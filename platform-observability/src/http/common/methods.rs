//! The HTTP methods that spans and metrics distinguish.

use http::Method;

/// The value of `http.request.method` for unknown methods.
pub(crate) const OTHER: &str = "_OTHER";

/// The methods of RFC 9110, RFC 5789 (PATCH) and the conventions (QUERY).
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

/// The methods that spans and metrics distinguish. Clients can send any other method, so those
/// are recorded as [`OTHER`] to bound the metrics' cardinality.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownMethods(&'static [Method]);

impl Default for KnownMethods {
    fn default() -> Self {
        Self(&KNOWN)
    }
}

impl KnownMethods {
    /// Replaces the default methods.
    pub(crate) fn only(methods: Vec<Method>) -> Self {
        // Leaked: there is one configuration per process, and attributes can borrow the names.
        Self(methods.leak())
    }

    #[inline]
    pub(crate) fn name(self, method: &Method) -> &'static str {
        let known = self.0.iter().find(|known| *known == method);
        known.map_or(OTHER, Method::as_str)
    }
}

/// `{method} {target}`, in which an unknown method is `HTTP`.
pub(crate) fn span_name(method: &str, target: Option<&str>) -> String {
    let method = if method == OTHER { "HTTP" } else { method };
    match target {
        Some(target) => format!("{method} {target}"),
        None => method.to_owned(),
    }
}
