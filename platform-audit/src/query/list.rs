//! Several values in one text, as people write them.

/// Which characters have a meaning in the text of a filter. In every syntax `\*` is a star of the
/// value, and where commas separate values, `\,` is a comma of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// Commas separate values.
    List,
    /// Commas separate values, and a star at the end of one stands for whatever follows.
    Prefixes,
    /// Commas separate values, and `{*name}` is part of one, as in the routes of axum.
    Routes,
    /// One value.
    Single,
}

impl Syntax {
    /// The syntax of the filter `name`.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "action" => Self::Prefixes,
            "route" => Self::Routes,
            "reason" => Self::Single,
            _ => Self::List,
        }
    }

    /// The values of `text`. Blanks around the values of a list are ignored.
    ///
    /// # Errors
    ///
    /// When a value is a pattern that the filter does not understand: compared exactly it would find
    /// nothing, which looks like an answer. When there is no value.
    pub(super) fn read(self, text: &str) -> Result<Vec<String>, String> {
        let pieces = if self == Self::Single {
            vec![text]
        } else {
            pieces(text)
        };
        let is_list = pieces.len() > 1;
        let pieces = pieces
            .into_iter()
            .map(|piece| if is_list { piece.trim() } else { piece })
            .filter(|piece| !piece.is_empty());
        let values: Vec<String> = pieces
            .map(|piece| self.value(piece))
            .collect::<Result<_, _>>()?;
        if values.is_empty() {
            return Err(format!("there is no value in `{text}`"));
        }
        Ok(values)
    }

    /// The text that [`read`](Self::read) reads as `value` alone.
    pub(super) fn write(self, value: &str) -> String {
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

    fn value(self, piece: &str) -> Result<String, String> {
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
                ('*', _) if !self.understands(&value, rest.as_str()) => {
                    return Err(self.refusal(piece));
                }
                _ => value.push(it),
            }
        }
        Ok(value)
    }

    /// Whether a star between `before` and `after` has a meaning.
    fn understands(self, before: &str, after: &str) -> bool {
        match self {
            Self::Prefixes => after.is_empty(),
            Self::Routes => before.ends_with('{'),
            Self::List | Self::Single => false,
        }
    }

    fn refusal(self, piece: &str) -> String {
        let star = "write \\* for a star that is part of the value";
        match self {
            Self::Prefixes => format!(
                "`{piece}` has a star that is not at its end, where it stands for whatever follows, such as in entry.*"
            ),
            Self::Single => format!(
                "`{piece}` is a pattern, and the text is searched as it is: leave the star out, or {star}"
            ),
            Self::List | Self::Routes => format!(
                "`{piece}` is a pattern, and only action takes one: name each value, with commas between, or {star}"
            ),
        }
    }
}

/// What is between the commas that separate values.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut begin = 0;
    for (at, _) in text.match_indices(',') {
        if !text[..at].ends_with('\\') {
            pieces.push(&text[begin..at]);
            begin = at + 1;
        }
    }
    pieces.push(&text[begin..]);
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
            assert_eq!(Syntax::List.read(text).unwrap(), values, "{text}");
        }
        assert_eq!(
            Syntax::Prefixes.read("entry.*,patient.read").unwrap(),
            ["entry.*", "patient.read"]
        );
        assert_eq!(Syntax::Routes.read("/{*path}").unwrap(), ["/{*path}"]);
        assert_eq!(Syntax::Single.read("a, b").unwrap(), ["a, b"]);
    }

    #[test]
    fn a_pattern_is_refused_where_none_is_understood() {
        for (syntax, text) in [
            (Syntax::List, "dr.*"),
            (Syntax::List, "ada,dr.*"),
            (Syntax::List, "*"),
            (Syntax::Prefixes, "*.read"),
            (Syntax::Prefixes, "entry.*.x"),
            (Syntax::Routes, "/entries/*"),
            (Syntax::Single, "ticket*"),
        ] {
            let refused = syntax.read(text).unwrap_err();
            assert!(refused.contains('*'), "{text}: {refused}");
        }
        for text in [",", " , "] {
            assert!(Syntax::List.read(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_value_can_be_written(value in "[a,*\\\\{ ]{1,8}|.{1,8}") {
            for syntax in ALL {
                let text = syntax.write(&value);
                let read = syntax.read(&text).unwrap();
                prop_assert_eq!(&read[..], std::slice::from_ref(&value), "{:?} {}", syntax, text);
            }
        }
    }
}
