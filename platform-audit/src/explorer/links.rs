//! The URLs of the pages.

/// Builds URLs relative to the path at which the router is mounted.
pub(super) struct Links {
    base: String,
}

impl Links {
    /// `base` is the path at which the router is mounted, without a trailing slash.
    pub(super) fn new(base: String) -> Self {
        Self { base }
    }

    /// The URL of `path`, which starts with `/`, with these query parameters.
    pub(super) fn to<N: AsRef<str>, V: AsRef<str>>(
        &self,
        path: &str,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> String {
        let path = if path == "/" && !self.base.is_empty() {
            ""
        } else {
            path
        };
        let mut query = form_urlencoded::Serializer::new(String::new());
        let query = query.extend_pairs(pairs).finish();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{path}{mark}{query}", self.base)
    }

    /// The URL of `path` without a query.
    pub(super) fn at(&self, path: &str) -> String {
        self.to::<&str, &str>(path, [])
    }
}
