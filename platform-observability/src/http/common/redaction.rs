//! Redaction of URL queries, whose values may be personal data.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The placeholder for redacted text, by the conventions.
pub(crate) const REDACTED: &str = "REDACTED";

/// The query parameters whose values are always redacted: credentials and signatures. Names are
/// case-insensitive. The first five are those of the conventions.
///
/// [`HttpClientLayer`](crate::http::HttpClientLayer::sensitive_query_parameters) can replace them.
#[rustfmt::skip]
pub const SENSITIVE_QUERY_PARAMETERS: &[&str] = &[
    "AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature", "X-Amz-Signature",
    "X-Amz-Credential", "X-Amz-Security-Token", "X-Goog-Credential", "access_token", "api_key",
    "api-key", "apikey", "assertion", "auth", "authorization", "client_assertion",
    "client_secret", "code", "code_verifier", "credential", "id_token", "jwt", "key", "otp",
    "passwd", "password", "pwd", "refresh_token", "secret", "session", "session_id", "sessionid",
    "state", "ticket", "token",
];

/// Which values of a query are recorded.
#[derive(Clone, Debug)]
pub(crate) struct QueryRedaction {
    allowed: Allowed,
    /// `None` is the default list.
    sensitive: Option<Vec<Box<str>>>,
}

#[derive(Clone, Debug)]
enum Allowed {
    Only(Vec<Box<str>>),
    All,
}

impl Default for QueryRedaction {
    fn default() -> Self {
        Self {
            allowed: Allowed::Only(Vec::new()),
            sensitive: None,
        }
    }
}

impl QueryRedaction {
    pub(crate) fn allow(&mut self, parameter: &str) {
        if let Allowed::Only(parameters) = &mut self.allowed {
            parameters.push(parameter.into());
        }
    }

    pub(crate) fn allow_all(&mut self) {
        self.allowed = Allowed::All;
    }

    pub(crate) fn set_sensitive(&mut self, parameters: Vec<Box<str>>) {
        self.sensitive = Some(parameters);
    }

    /// Appends the redacted query to `to`.
    pub(crate) fn write(&self, query: &str, to: &mut String) {
        // Some servers treat `;` as a separator, others as part of the value.
        let mut in_redacted = false;
        for piece in query.split_inclusive(['&', ';']) {
            let (parameter, separator) = match piece.strip_suffix(['&', ';']) {
                Some(parameter) => (parameter, &piece[parameter.len()..]),
                None => (piece, ""),
            };
            match parameter.split_once('=') {
                _ if parameter.is_empty() => {}
                _ if in_redacted => to.push_str(REDACTED),
                Some((name, _)) if !self.allows(name) => {
                    to.push_str(name);
                    to.push('=');
                    to.push_str(REDACTED);
                    in_redacted = true;
                }
                // A parameter without `=` may be a value.
                None if !self.allows(parameter) => {
                    to.push_str(REDACTED);
                    in_redacted = true;
                }
                _ => to.push_str(parameter),
            }
            in_redacted &= separator != "&";
            to.push_str(separator);
        }
    }

    fn allows(&self, name: &str) -> bool {
        let name = decoded(name);
        let allowed = match &self.allowed {
            Allowed::Only(parameters) => parameters.iter().any(|allowed| **allowed == *name),
            Allowed::All => true,
        };
        allowed && !self.is_sensitive(&name)
    }

    fn is_sensitive(&self, name: &str) -> bool {
        match &self.sensitive {
            Some(own) => own.iter().any(|own| own.eq_ignore_ascii_case(name)),
            None => SENSITIVE_QUERY_PARAMETERS
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name)),
        }
    }
}

/// A parameter's name as the server decodes it, so that `t%6Fken` is recognized as `token`.
fn decoded(name: &str) -> Cow<'_, str> {
    if !name.contains(['%', '+']) {
        return Cow::Borrowed(name);
    }
    let spaced = name.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::QueryRedaction;

    fn written(redaction: &QueryRedaction, query: &str) -> String {
        let mut to = String::new();
        redaction.write(query, &mut to);
        to
    }

    #[test]
    fn no_query_value_is_recorded_by_default() {
        let redaction = QueryRedaction::default();
        for (query, expected) in [
            ("", ""),
            ("a=1", "a=REDACTED"),
            ("a=1&b=2;c=3", "a=REDACTED&b=REDACTED;REDACTED"),
            ("a=b=c", "a=REDACTED"),
            ("a=", "a=REDACTED"),
            ("jane", "REDACTED"),
            ("&a=1&&", "&a=REDACTED&&"),
            ("=jane", "=REDACTED"),
        ] {
            assert_eq!(written(&redaction, query), expected, "{query}");
        }
    }

    #[test]
    fn only_allowed_query_values_are_recorded_and_never_sensitive_ones() {
        let mut redaction = QueryRedaction::default();
        redaction.allow("page");
        redaction.allow("token");
        redaction.allow("a b");
        for (query, expected) in [
            ("page=2&size=3", "page=2&size=REDACTED"),
            ("Page=2", "Page=REDACTED"),
            ("p%61ge=2", "p%61ge=2"),
            ("page", "page"),
            ("a+b=1&a%20b=2", "a+b=1&a%20b=2"),
            ("token=x", "token=REDACTED"),
            ("token", "REDACTED"),
            ("page=2;token=x", "page=2;token=REDACTED"),
            ("token=x;page=y&page=3", "token=REDACTED;REDACTED&page=3"),
            ("token=x;page", "token=REDACTED;REDACTED"),
        ] {
            assert_eq!(written(&redaction, query), expected, "{query}");
        }
    }

    #[test]
    fn sensitive_query_values_are_redacted_even_if_all_values_are_recorded() {
        let mut redaction = QueryRedaction::default();
        redaction.allow_all();
        assert_eq!(
            written(
                &redaction,
                "q=1&SIG=2&t%6Fken=3&AWSAccessKeyId=4&x-goog-signature=5&code=6&password=7"
            ),
            "q=1&SIG=REDACTED&t%6Fken=REDACTED&AWSAccessKeyId=REDACTED&x-goog-signature=REDACTED\
             &code=REDACTED&password=REDACTED"
        );
        assert_eq!(
            written(&redaction, "password=hunter;2&token=v1;abcdef;;&q=1;2"),
            "password=REDACTED;REDACTED&token=REDACTED;REDACTED;;&q=1;2"
        );
        redaction.set_sensitive(vec!["patient".into()]);
        assert_eq!(
            written(&redaction, "code=6&Patient=7"),
            "code=6&Patient=REDACTED"
        );
    }
}
