//! Parsing and escaping of filter values that people type, such as comma-separated lists.

/// Which characters are special in a filter's text. In every syntax `\*` is a literal star; in
/// comma-separated ones `\,` is a literal comma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// Comma-separated values.
    List,
    /// Comma-separated values; a trailing star in a value makes it a prefix.
    Prefixes,
    /// Comma-separated routes; `{*name}` is axum's wildcard segment and is kept literally.
    Routes,
    /// A single value.
    Single,
}

impl Syntax {
    /// The syntax of the field `name`.
    pub(super) fn for_field(name: &str) -> Self {
        match name {
            "action" => Self::Prefixes,
            "route" => Self::Routes,
            "reason" => Self::Single,
            _ => Self::List,
        }
    }

    /// Parses `text` into values. Whitespace around comma-separated values is trimmed.
    ///
    /// # Errors
    ///
    /// If a value contains a wildcard that the field does not support: matched literally, it would
    /// silently find nothing. If there is no value at all.
    pub(super) fn parse(self, text: &str) -> Result<Vec<String>, String> {
        let pieces = if self == Self::Single {
            vec![text]
        } else {
            split_commas(text)
        };
        let is_list = pieces.len() > 1;
        let pieces = pieces
            .into_iter()
            .map(|piece| if is_list { piece.trim() } else { piece })
            .filter(|piece| !piece.is_empty());
        let values: Vec<String> = pieces
            .map(|piece| self.unescape(piece))
            .collect::<Result<_, _>>()?;
        if values.is_empty() {
            return Err(format!("`{text}` contains no value"));
        }
        Ok(values)
    }

    /// Escapes `value` so that [`parse`](Self::parse) returns it unchanged.
    pub(super) fn escape(self, value: &str) -> String {
        let mut text = String::with_capacity(value.len());
        for (at, it) in value.char_indices() {
            let is_escaped = match it {
                ',' => self != Self::Single,
                '*' => {
                    let is_last = at + 1 == value.len();
                    self != Self::Prefixes || !is_last || text.ends_with('\\')
                }
                _ => false,
            };
            if is_escaped {
                text.push('\\');
            }
            text.push(it);
        }
        text
    }

    fn unescape(self, piece: &str) -> Result<String, String> {
        let mut value = String::with_capacity(piece.len());
        let mut rest = piece.chars();
        while let Some(it) = rest.next() {
            let escaped = rest.clone().next();
            let escaped =
                escaped.filter(|next| *next == '*' || *next == ',' && self != Self::Single);
            match (it, escaped) {
                ('\\', Some(next)) => {
                    value.push(next);
                    rest.next();
                }
                ('*', _) if !self.allows_star(&value, rest.as_str()) => {
                    return Err(self.wildcard_error(piece));
                }
                _ => value.push(it),
            }
        }
        Ok(value)
    }

    /// Whether a star between `before` and `after` is part of the syntax.
    fn allows_star(self, before: &str, after: &str) -> bool {
        match self {
            Self::Prefixes => after.is_empty(),
            Self::Routes => before.ends_with('{'),
            Self::List | Self::Single => false,
        }
    }

    fn wildcard_error(self, piece: &str) -> String {
        let star = "write \\* for a literal star";
        match self {
            Self::Prefixes => format!(
                "`{piece}` has a star that is not at its end: only a trailing star is a wildcard, such as in entry.*"
            ),
            Self::Single => format!(
                "`{piece}` is a pattern, but this is a substring search: leave the star out, or {star}"
            ),
            Self::List | Self::Routes => format!(
                "`{piece}` is a pattern, which only action supports: list the values, separated by commas, or {star}"
            ),
        }
    }
}

/// Splits at unescaped commas.
fn split_commas(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(',') {
        if !text[..at].ends_with('\\') {
            pieces.push(&text[start..at]);
            start = at + 1;
        }
    }
    pieces.push(&text[start..]);
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Syntax;

    const ALL: [Syntax; 4] = [
        Syntax::List,
        Syntax::Prefixes,
        Syntax::Routes,
        Syntax::Single,
    ];

    #[test]
    fn commas_separate_values() {
        for (text, values) in [
            ("ada", vec!["ada"]),
            ("ada,bob", vec!["ada", "bob"]),
            ("ada , bob,,", vec!["ada", "bob"]),
            ("Doe\\, Jane,bob", vec!["Doe, Jane", "bob"]),
            ("CORP\\jane", vec!["CORP\\jane"]),
            (" ada ", vec![" ada "]),
            ("\\*", vec!["*"]),
        ] {
            assert_eq!(Syntax::List.parse(text).unwrap(), values, "{text}");
        }
        assert_eq!(
            Syntax::Prefixes.parse("entry.*,patient.read").unwrap(),
            ["entry.*", "patient.read"]
        );
        assert_eq!(Syntax::Routes.parse("/{*path}").unwrap(), ["/{*path}"]);
        assert_eq!(Syntax::Single.parse("a, b").unwrap(), ["a, b"]);
    }

    #[test]
    fn a_wildcard_is_refused_where_the_field_does_not_support_it() {
        for (syntax, text) in [
            (Syntax::List, "dr.*"),
            (Syntax::List, "ada,dr.*"),
            (Syntax::List, "*"),
            (Syntax::Prefixes, "*.read"),
            (Syntax::Prefixes, "entry.*.x"),
            (Syntax::Routes, "/entries/*"),
            (Syntax::Single, "ticket*"),
        ] {
            let refused = syntax.parse(text).unwrap_err();
            assert!(refused.contains('*'), "{text}: {refused}");
        }
        for text in [",", " , "] {
            assert!(Syntax::List.parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_value_round_trips_through_escaping(value in "[a,*\\\\{ ]{1,8}|.{1,8}") {
            for syntax in ALL {
                let text = syntax.escape(&value);
                let read = syntax.parse(&text).unwrap();
                prop_assert_eq!(&read[..], std::slice::from_ref(&value), "{:?} {}", syntax, text);
            }
        }
    }
}
