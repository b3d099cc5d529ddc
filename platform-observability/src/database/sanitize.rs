//! Removes data from the text of statements.

use super::lexer::{Token, tokens};

/// The maximum length of a recorded text, in bytes.
const MAX_BYTES: usize = 8 * 1024;

/// The verbs of statements whose data is only in literals. In `SET`, `COPY` or `NOTIFY`, a bare
/// word may be data.
#[rustfmt::skip]
const VERBS: &[&str] = &[
    "BEGIN", "COMMIT", "DELETE", "END", "INSERT", "MERGE", "RELEASE", "ROLLBACK", "SAVEPOINT",
    "SELECT", "START", "UPDATE", "VALUES", "WITH",
];

/// The meaning of double quotes in a database's SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DoubleQuotes {
    /// Always names.
    Names,
    /// Names or strings.
    NamesOrStrings,
}

/// Replaces every literal in `sql` by `?`, removes comments, and separates words by one space.
/// Returns `None` if databases disagree about which tokens are literals, or if the text is too
/// long.
pub(super) fn sanitized(sql: &str, double_quotes: DoubleQuotes) -> Option<String> {
    let mut text = String::with_capacity(sql.len().min(MAX_BYTES));
    let mut starts_statement = true;
    let mut needs_no_space = true;
    for token in tokens(sql) {
        let token = token.ok()?;
        if starts_statement {
            let Token::Word(word) = token else {
                return None;
            };
            if !VERBS.iter().any(|verb| verb.eq_ignore_ascii_case(word)) {
                return None;
            }
        }
        starts_statement = token == Token::Sign(';');
        let is_punctuation = matches!(token, Token::Sign(',' | ')' | '[' | ']' | '.' | ';' | ':'));
        if !(needs_no_space || is_punctuation) {
            text.push(' ');
        }
        needs_no_space = matches!(token, Token::Sign('(' | '[' | '.' | ':'));
        match token {
            Token::Word(word) => text.push_str(word),
            Token::Parameter(parameter) => text.push_str(parameter),
            Token::Literal => text.push('?'),
            Token::Sign(sign) => text.push(sign),
            Token::Quoted(name) if double_quotes == DoubleQuotes::Names && is_name(name) => {
                text.push('"');
                text.push_str(name);
                text.push('"');
            }
            Token::Quoted(_) => text.push('?'),
        }
        if text.len() > MAX_BYTES {
            return None;
        }
    }
    (!text.is_empty()).then_some(text)
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|char| char.is_alphanumeric() || char == '_')
}
