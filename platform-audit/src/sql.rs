//! Quoting of SQL identifiers, string literals and shell words.

/// Quotes an identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a string literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Whether a name needs quotes neither in SQL nor in a shell.
fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// An SQL identifier, in quotes only where it needs them.
pub(crate) fn quoted(name: &str) -> String {
    if is_plain(name) {
        name.to_owned()
    } else {
        identifier(name)
    }
}

/// A shell word, in quotes only where it needs them.
pub(crate) fn shell_quoted(word: &str) -> String {
    if is_plain(word) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_sql_or_a_shell_needs_it() {
        for plain in ["ledger_app", "_x1", "a"] {
            assert_eq!(
                (quoted(plain), shell_quoted(plain)),
                (plain.into(), plain.into())
            );
        }
        for (name, sql, word) in [
            ("Ledger", "\"Ledger\"", "'Ledger'"),
            ("1x", "\"1x\"", "'1x'"),
            ("ledger-app", "\"ledger-app\"", "'ledger-app'"),
            ("it's", "\"it's\"", r"'it'\''s'"),
            ("a\"b", "\"a\"\"b\"", "'a\"b'"),
            ("", "\"\"", "''"),
        ] {
            assert_eq!(
                (quoted(name), shell_quoted(name)),
                (sql.into(), word.into())
            );
        }
    }
}
