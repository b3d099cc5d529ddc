//! What an error may say about a URL in a log.

/// `text` with neither the user, the password, the query nor the fragment of the URLs in it.
pub(super) fn redact(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(scheme) = rest.find("://") {
        let (before, url) = rest.split_at(scheme + "://".len());
        shown.push_str(before);
        // A password may hold any of the other delimiters.
        let word = url.find(never_in_url).unwrap_or(url.len());
        let url = match url[..word].rfind('@') {
            Some(at) => {
                shown.push_str("…@");
                &url[at + 1..]
            }
            None => url,
        };
        let end = url.find(ends_url).unwrap_or(url.len());
        let (url, after) = url.split_at(end);
        match url.find(['?', '#']) {
            Some(query) => {
                shown.push_str(&url[..query]);
                shown.push_str("?…");
            }
            None => shown.push_str(url),
        }
        rest = after;
    }
    shown.push_str(rest);
    shown
}

fn never_in_url(character: char) -> bool {
    character.is_whitespace() || matches!(character, '"' | '`' | '<' | '>')
}

fn ends_url(character: char) -> bool {
    never_in_url(character) || matches!(character, '\'' | '(' | ')')
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn urls_lose_what_may_be_secret() {
        for (said, logged) in [
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
            assert_eq!(redact(said), logged);
        }
    }
}
