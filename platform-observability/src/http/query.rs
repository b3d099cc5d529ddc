//! What of a query may be recorded.

/// `query` with every value that `kept` does not name replaced by `REDACTED`: a value may be
/// anything, and on a health platform much of it is somebody's.
pub(crate) fn redacted(query: &str, kept: &[String]) -> String {
    let mut text = String::with_capacity(query.len());
    for (at, pair) in query.split('&').enumerate() {
        if at > 0 {
            text.push('&');
        }
        match pair.split_once('=') {
            Some((name, value)) => {
                text.push_str(name);
                text.push('=');
                let known = kept.iter().any(|kept| kept == name);
                text.push_str(if known || value.is_empty() {
                    value
                } else {
                    "REDACTED"
                });
            }
            // Without `=` it may as well be a value.
            None if pair.is_empty() || kept.iter().any(|kept| kept == pair) => text.push_str(pair),
            None => text.push_str("REDACTED"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn only_named_values_are_kept() {
        let kept = ["page".to_owned(), "sort".to_owned()];
        for (query, expected) in [
            ("page=2&patient=ada", "page=2&patient=REDACTED"),
            ("ada@example.org", "REDACTED"),
            ("sort&page=", "sort&page="),
            ("a=b=c&&page=1", "a=REDACTED&&page=1"),
            ("Page=2", "Page=REDACTED"),
            ("", ""),
        ] {
            assert_eq!(redacted(query, &kept), expected);
        }
    }
}
