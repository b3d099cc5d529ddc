//! Redaction of URLs in logged errors.

/// Removes user, password, query and fragment from the URLs in `text`.
pub(super) fn redact_urls(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(scheme) = rest.find("://") {
        let (before, url) = rest.split_at(scheme + "://".len());
        redacted.push_str(before);
        // A password may contain any of the other delimiters.
        let word = url.find(is_never_in_url).unwrap_or(url.len());
        let url = match url[..word].rfind('@') {
            Some(at) => {
                redacted.push_str("…@");
                &url[at + 1..]
            }
            None => url,
        };
        let end = url.find(is_url_end).unwrap_or(url.len());
        let (url, after) = url.split_at(end);
        match url.find(['?', '#']) {
            Some(query) => {
                redacted.push_str(&url[..query]);
                redacted.push_str("?…");
            }
            None => redacted.push_str(url),
        }
        rest = after;
    }
    redacted.push_str(rest);
    redacted
}

fn is_never_in_url(character: char) -> bool {
    character.is_whitespace() || matches!(character, '"' | '`' | '<' | '>')
}

fn is_url_end(character: char) -> bool {
    is_never_in_url(character) || matches!(character, '\'' | '(' | ')')
}

#[cfg(test)]
mod tests {
    use super::redact_urls;

    #[test]
    fn credentials_and_queries_are_removed_from_urls() {
        for (error, logged) in [
            ("connection refused", "connection refused"),
            (
                "cannot reach postgres://ledger:hunter2@db:5432/ledger: refused",
                "cannot reach postgres://…@db:5432/ledger: refused",
            ),
            (
                "error for url (https://api.example/v1?key=hunter2#a): 401",
                "error for url (https://api.example/v1?…): 401",
            ),
            (
                "redis://:p?a#s/s@h/0 and amqp://h/%2f?k=a@b",
                "redis://…@h/0 and amqp://…@b",
            ),
            ("http://é?ü", "http://é?…"),
            (
                "cannot reach 'postgres://ledger:hun(t'er)2@db:5432/ledger' (refused)",
                "cannot reach 'postgres://…@db:5432/ledger' (refused)",
            ),
        ] {
            assert_eq!(redact_urls(error), logged);
        }
    }
}
