//! A statement without what may be data.

use super::lexer::{Token, tokens};

/// How much text is recorded, in bytes.
const LONGEST: usize = 8 * 1024;

/// What a statement begins with whose data is in literals only: not `SET`, `COPY`, `NOTIFY`, …,
/// where a bare word may be data.
const PLAIN: &[&str] = &[
    "BEGIN",
    "COMMIT",
    "DELETE",
    "END",
    "INSERT",
    "MERGE",
    "RELEASE",
    "ROLLBACK",
    "SAVEPOINT",
    "SELECT",
    "START",
    "UPDATE",
    "VALUES",
    "WITH",
];

/// `sql` with `?` in place of every literal, one space between words, and without comments; or
/// nothing, where databases might disagree about what is a literal, or where it is too long.
///
/// In double quotes is a name where `quotes_names`, else it may be a string.
pub(super) fn sanitised(sql: &str, quotes_names: bool) -> Option<String> {
    let mut text = String::with_capacity(sql.len().min(LONGEST));
    let mut begins = true;
    let mut glued = true;
    for token in tokens(sql) {
        let token = token.ok()?;
        if begins {
            let Token::Word(word) = token else {
                return None;
            };
            if !PLAIN.iter().any(|plain| plain.eq_ignore_ascii_case(word)) {
                return None;
            }
        }
        begins = token == Token::Sign(';');
        let is_open = matches!(token, Token::Sign(',' | ')' | '[' | ']' | '.' | ';' | ':'));
        if !(glued || is_open) {
            text.push(' ');
        }
        glued = matches!(token, Token::Sign('(' | '[' | '.' | ':'));
        match token {
            Token::Word(word) => text.push_str(word),
            Token::Parameter(parameter) => text.push_str(parameter),
            Token::Literal => text.push('?'),
            Token::Sign(sign) => text.push(sign),
            Token::Quoted(name) if quotes_names && is_name(name) => {
                text.push('"');
                text.push_str(name);
                text.push('"');
            }
            Token::Quoted(_) => text.push('?'),
        }
        if text.len() > LONGEST {
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
