/// A host without the brackets that enclose an IPv6 address in URLs and headers.
pub(crate) fn without_brackets(host: &str) -> &str {
    bracketed(host).unwrap_or(host)
}

/// The contents of `[…]`.
pub(crate) fn bracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}
