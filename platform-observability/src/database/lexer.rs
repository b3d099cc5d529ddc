//! A lexer that distinguishes names from data in SQL.

/// A token of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword or a name, as written.
    Word(&'a str),
    /// A name in double quotes or backticks, without them. In some databases, text in double
    /// quotes may be data.
    Quoted(&'a str),
    /// A string or a number.
    Literal,
    /// `$1`, `?`, `:name`.
    Parameter(&'a str),
    /// Any other printable ASCII character.
    Sign(char),
}

/// The error if databases would tokenize the statement differently, or reject it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ambiguous;

/// The tokens of `sql`, up to the first ambiguity.
pub(super) fn tokens(sql: &str) -> Lexer<'_> {
    Lexer {
        rest: sql,
        failed: false,
    }
}

pub(super) struct Lexer<'a> {
    rest: &'a str,
    failed: bool,
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Result<Token<'a>, Ambiguous>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let token = self.token().transpose()?;
        self.failed = token.is_err();
        Some(token)
    }
}

impl<'a> Lexer<'a> {
    fn token(&mut self) -> Result<Option<Token<'a>>, Ambiguous> {
        self.skip_whitespace()?;
        let Some(first) = self.rest.chars().next() else {
            return Ok(None);
        };
        let token = match first {
            '\'' => self.string(false)?,
            '"' => Token::Quoted(self.enclosed('"')?),
            '`' => Token::Quoted(self.enclosed('`')?),
            '$' => self.dollar()?,
            '?' => Token::Parameter(self.take(|_, char| char.is_ascii_digit())),
            ':' | '@' if self.second_is(is_word_start) => {
                Token::Parameter(self.take(|_, char| is_word_char(char)))
            }
            '.' if self.second_is(|next| next.is_ascii_digit()) => self.number(),
            '0'..='9' => self.number(),
            _ if is_word_start(first) => return self.word().map(Some),
            // A comment in MySQL, an operator in Postgres.
            '#' => return Err(Ambiguous),
            // `[` starts a name in some databases, a subscript in Postgres.
            '!'..='~' => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                Token::Sign(first)
            }
            _ => return Err(Ambiguous),
        };
        Ok(Some(token))
    }

    fn second_is(&self, matches: impl Fn(char) -> bool) -> bool {
        self.rest.chars().nth(1).is_some_and(matches)
    }

    /// Skips whitespace and comments.
    fn skip_whitespace(&mut self) -> Result<(), Ambiguous> {
        loop {
            self.rest = self.rest.trim_start();
            if let Some(comment) = self.rest.strip_prefix("--") {
                // MySQL requires whitespace after it, other databases do not.
                if !(comment.is_empty() || comment.starts_with([' ', '\t', '\n', '\r'])) {
                    return Err(Ambiguous);
                }
                self.rest = comment
                    .find('\n')
                    .and_then(|end| comment.get(end..))
                    .unwrap_or_default();
            } else if let Some(comment) = self.rest.strip_prefix("/*") {
                let end = comment.find("*/").ok_or(Ambiguous)?;
                // Some databases nest comments, and MySQL executes some.
                let (inside, rest) = comment.split_at(end);
                if inside.contains("/*") || inside.starts_with(['!', '+', 'M']) {
                    return Err(Ambiguous);
                }
                self.rest = rest.get(2..).unwrap_or_default();
            } else {
                return Ok(());
            }
        }
    }

    /// Takes the first character, and the following ones that `continues` accepts by their index.
    fn take(&mut self, continues: impl Fn(usize, char) -> bool) -> &'a str {
        let mut chars = self.rest.char_indices().skip(1);
        let end = chars
            .find(|(at, char)| !continues(*at, *char))
            .map_or(self.rest.len(), |(at, _)| at);
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn word(&mut self) -> Result<Token<'a>, Ambiguous> {
        let word = self.take(|_, char| is_word_char(char));
        // `E'…'`, `B'…'`, `X'…'`, `N'…'`, `U&'…'`, and MySQL's `_utf8'…'`.
        if self.rest.starts_with('\'') {
            return match word {
                "E" | "e" => self.string(true),
                _ => self.string(false),
            };
        }
        if matches!(word, "U" | "u")
            && (self.rest.starts_with("&'") || self.rest.starts_with("&\""))
        {
            return Err(Ambiguous);
        }
        Ok(Token::Word(word))
    }

    /// A string, up to a quote that is not doubled. In `E'…'`, a backslash escapes a quote;
    /// elsewhere this depends on the database and its settings.
    fn string(&mut self, escapes: bool) -> Result<Token<'a>, Ambiguous> {
        let body = self.rest.get(1..).unwrap_or_default();
        let mut chars = body.char_indices().peekable();
        while let Some((at, char)) = chars.next() {
            match char {
                '\\' if escapes => {
                    chars.next();
                }
                '\\' if matches!(chars.peek(), None | Some((_, '\'' | '\\'))) => {
                    return Err(Ambiguous);
                }
                '\'' if matches!(chars.peek(), Some((_, '\''))) => {
                    chars.next();
                }
                '\'' => {
                    self.rest = body.get(at + 1..).unwrap_or_default();
                    return Ok(Token::Literal);
                }
                _ => {}
            }
        }
        Err(Ambiguous)
    }

    /// The text between two `quote`s. A doubled quote, or a backslash, is ambiguous.
    fn enclosed(&mut self, quote: char) -> Result<&'a str, Ambiguous> {
        let body = self.rest.get(1..).unwrap_or_default();
        let (inside, rest) = body.split_once(quote).ok_or(Ambiguous)?;
        if rest.starts_with(quote) || inside.contains('\\') {
            return Err(Ambiguous);
        }
        self.rest = rest;
        Ok(inside)
    }

    /// `$1`, `$name`, or `$tag$ … $tag$`.
    fn dollar(&mut self) -> Result<Token<'a>, Ambiguous> {
        let taken = self.take(|_, char| char.is_ascii_alphanumeric() || char == '_');
        if !self.rest.starts_with('$') {
            return Ok(Token::Parameter(taken));
        }
        let body = self.rest.get(1..).unwrap_or_default();
        let end = body.find(&format!("{taken}$")).ok_or(Ambiguous)?;
        self.rest = body.get(end + taken.len() + 1..).unwrap_or_default();
        Ok(Token::Literal)
    }

    fn number(&mut self) -> Token<'a> {
        let text = self.rest.as_bytes();
        self.take(|at, char| {
            let exponent = at.checked_sub(1).and_then(|before| text.get(before));
            is_word_char(char)
                || char == '.'
                || (matches!(char, '+' | '-') && matches!(exponent, Some(b'e' | b'E')))
        });
        Token::Literal
    }
}

fn is_word_start(char: char) -> bool {
    char.is_alphabetic() || char == '_'
}

fn is_word_char(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '$')
}
