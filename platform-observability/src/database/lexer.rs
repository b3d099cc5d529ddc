//! SQL, as far as needed to tell names from data.

/// A piece of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword or a name, as it was written.
    Word(&'a str),
    /// A name in double quotes, backticks or brackets, without them. In some databases what
    /// is in double quotes may be data.
    Quoted(&'a str),
    /// A string or a number.
    Literal,
    /// `$1`, `?`, `:name`.
    Parameter(&'a str),
    /// Any other character of ASCII that shows.
    Sign(char),
}

/// Why a statement is not read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unclear;

/// The tokens of `sql`; an error where databases would read it differently, or not at all.
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
    type Item = Result<Token<'a>, Unclear>;

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
    fn token(&mut self) -> Result<Option<Token<'a>>, Unclear> {
        self.skip_blanks()?;
        let Some(first) = self.rest.chars().next() else {
            return Ok(None);
        };
        let token = match first {
            '\'' => self.string(false)?,
            '"' => Token::Quoted(self.enclosed('"')?),
            '`' => Token::Quoted(self.enclosed('`')?),
            '[' => self.bracket(),
            '$' => self.dollar()?,
            '?' => Token::Parameter(self.take(|_, char| char.is_ascii_digit())),
            ':' | '@' if self.rest.get(1..).is_some_and(starts_word) => {
                Token::Parameter(self.take(|_, char| is_word(char)))
            }
            '.' if self.rest.get(1..).is_some_and(starts_number) => self.number(),
            '0'..='9' => self.number(),
            _ if is_start(first) => return self.word().map(Some),
            // In MySQL a comment, in Postgres an operator.
            '#' => return Err(Unclear),
            '!'..='~' => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                Token::Sign(first)
            }
            _ => return Err(Unclear),
        };
        Ok(Some(token))
    }

    /// Skips white space and comments.
    fn skip_blanks(&mut self) -> Result<(), Unclear> {
        loop {
            self.rest = self.rest.trim_start();
            if let Some(comment) = self.rest.strip_prefix("--") {
                // MySQL asks for a space after it, the others do not.
                if !(comment.is_empty() || comment.starts_with([' ', '\t', '\n', '\r'])) {
                    return Err(Unclear);
                }
                self.rest = comment
                    .find('\n')
                    .and_then(|end| comment.get(end..))
                    .unwrap_or_default();
            } else if let Some(comment) = self.rest.strip_prefix("/*") {
                let end = comment.find("*/").ok_or(Unclear)?;
                // Some databases nest them, and in MySQL some are no comments.
                let (inside, rest) = comment.split_at(end);
                if inside.contains("/*") || inside.starts_with(['!', '+', 'M']) {
                    return Err(Unclear);
                }
                self.rest = rest.get(2..).unwrap_or_default();
            } else {
                return Ok(());
            }
        }
    }

    /// The first character and those after it that `goes_on` takes, by their place.
    fn take(&mut self, goes_on: impl Fn(usize, char) -> bool) -> &'a str {
        let mut chars = self.rest.char_indices().skip(1);
        let end = chars
            .find(|(at, char)| !goes_on(*at, *char))
            .map_or(self.rest.len(), |(at, _)| at);
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn word(&mut self) -> Result<Token<'a>, Unclear> {
        let word = self.take(|_, char| is_word(char));
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
            return Err(Unclear);
        }
        Ok(Token::Word(word))
    }

    /// A string, up to a quote that is not doubled. Whether a backslash escapes the quote after it
    /// depends on the database and its settings, except for `E'…'`.
    fn string(&mut self, escapes: bool) -> Result<Token<'a>, Unclear> {
        let body = self.rest.get(1..).unwrap_or_default();
        let mut chars = body.char_indices().peekable();
        while let Some((at, char)) = chars.next() {
            match char {
                '\\' if escapes => {
                    chars.next();
                }
                '\\' if matches!(chars.peek(), None | Some((_, '\'' | '\\'))) => {
                    return Err(Unclear);
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
        Err(Unclear)
    }

    /// What is between two of `quote`. A doubled one, or a backslash, is not read.
    fn enclosed(&mut self, quote: char) -> Result<&'a str, Unclear> {
        let body = self.rest.get(1..).unwrap_or_default();
        let (inside, rest) = body.split_once(quote).ok_or(Unclear)?;
        if rest.starts_with(quote) || inside.contains('\\') {
            return Err(Unclear);
        }
        self.rest = rest;
        Ok(inside)
    }

    /// `[name]` in some databases, a subscript in Postgres.
    fn bracket(&mut self) -> Token<'a> {
        self.rest = self.rest.get(1..).unwrap_or_default();
        Token::Sign('[')
    }

    /// `$1`, `$name`, or `$tag$ … $tag$`.
    fn dollar(&mut self) -> Result<Token<'a>, Unclear> {
        let taken = self.take(|_, char| char.is_ascii_alphanumeric() || char == '_');
        if !self.rest.starts_with('$') {
            return Ok(Token::Parameter(taken));
        }
        let body = self.rest.get(1..).unwrap_or_default();
        let end = body.find(&format!("{taken}$")).ok_or(Unclear)?;
        self.rest = body.get(end + taken.len() + 1..).unwrap_or_default();
        Ok(Token::Literal)
    }

    fn number(&mut self) -> Token<'a> {
        let text = self.rest.as_bytes();
        self.take(|at, char| {
            let exponent = at.checked_sub(1).and_then(|before| text.get(before));
            is_word(char)
                || char == '.'
                || (matches!(char, '+' | '-') && matches!(exponent, Some(b'e' | b'E')))
        });
        Token::Literal
    }
}

fn is_start(char: char) -> bool {
    char.is_alphabetic() || char == '_'
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '$')
}

fn starts_word(text: &str) -> bool {
    text.starts_with(is_start)
}

fn starts_number(text: &str) -> bool {
    text.starts_with(|char: char| char.is_ascii_digit())
}
