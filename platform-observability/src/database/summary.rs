//! Summarizes a statement by its operations and tables, such as `INSERT entry SELECT draft`.

use std::fmt::Write;

use super::keywords::{NOT_TABLES, VERBS};
use super::lexer::{Ambiguous, Token, tokens};

/// The maximum length of a summary in bytes, by the conventions.
const MAX_BYTES: usize = 255;
/// How many characters of a statement are parsed.
const MAX_PARSED: usize = 8 * 1024;

/// The summary of a statement, or of several in one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// The operations, each with its tables; empty if they are unknown.
    pub(super) text: String,
    /// The operation, if there is only one.
    pub(super) operation: Option<&'static str>,
    /// The table, if there is only one operation on only one table.
    pub(super) table: Option<String>,
}

/// Summarizes `sql`. The summary contains no data: it consists of known verbs, and of names where
/// the grammar requires a table.
pub(super) fn summary(sql: &str) -> Summary {
    let (parsed, is_whole) = match sql.char_indices().nth(MAX_PARSED) {
        Some((end, _)) => (sql.get(..end).unwrap_or_default(), false),
        None => (sql, true),
    };
    let mut parser = Parser::default();
    let complete = tokens(parsed).try_for_each(|token| {
        parser.token(token?);
        Ok::<_, Ambiguous>(())
    });
    parser.end_of_name();
    parser.summary(is_whole && complete.is_ok())
}

struct Parser {
    parts: Vec<Part>,
    /// For the statement and each open parenthesis, from the outermost: whether a FROM at this
    /// level is followed by tables.
    open: Vec<bool>,
    position: Position,
    expects: Expects,
    /// Whether a parenthesis after the next name makes it a function.
    may_be_function: bool,
    /// The last word that was not a name, in upper case.
    last: String,
    /// Whether a statement began with an unknown verb.
    has_unknown_verb: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            open: vec![false],
            position: Position::StatementStart,
            expects: Expects::Nothing,
            may_be_function: false,
            last: String::new(),
            has_unknown_verb: false,
        }
    }
}

enum Part {
    Operation(&'static str),
    Table(String),
}

/// Where the next word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Inside,
    StatementStart,
    AfterOpeningParenthesis,
    /// After the parentheses of a `WITH`, this is the start of the main statement.
    AfterClosingParenthesis,
}

/// What the next token may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    Nothing,
    Table,
    /// `.` before the next part of a name, or the end of the name.
    RestOfName,
    PartOfName,
    /// `,` before the next table, at this depth.
    NextTable(usize),
    /// The kind of object that is created, altered or dropped.
    ObjectKind,
}

impl Parser {
    fn token(&mut self, token: Token<'_>) {
        match token {
            Token::Word(word) => self.word(word),
            Token::Quoted(name) => {
                let in_name =
                    |char: char| char.is_alphanumeric() || matches!(char, '_' | '$' | '-');
                let is_name = !name.is_empty() && name.chars().all(in_name);
                match self.expects {
                    Expects::Table if is_name => self.table(name),
                    Expects::PartOfName if is_name => self.more_of_name(name),
                    // An alias.
                    Expects::RestOfName | Expects::NextTable(_) => self.end_of_name(),
                    _ => self.other(),
                }
                self.position = Position::Inside;
            }
            Token::Sign(sign) => self.sign(sign),
            Token::Literal | Token::Parameter(_) => self.other(),
        }
    }

    fn word(&mut self, word: &str) {
        let position = std::mem::replace(&mut self.position, Position::Inside);
        let upper = word.to_ascii_uppercase();
        let upper = upper.as_str();
        match self.expects {
            Expects::PartOfName => return self.more_of_name(word),
            Expects::Table
                if matches!(
                    upper,
                    "IF" | "NOT" | "EXISTS" | "ONLY" | "LATERAL" | "TABLE"
                ) =>
            {
                return;
            }
            Expects::Table if !NOT_TABLES.contains(&upper) => return self.table(word),
            Expects::ObjectKind => {
                self.expects = match upper {
                    "TABLE" => Expects::Table,
                    "TEMP" | "TEMPORARY" | "UNLOGGED" => Expects::ObjectKind,
                    _ => Expects::Nothing,
                };
                return;
            }
            Expects::RestOfName => self.end_of_name(),
            _ => {}
        }
        if self.starts_operation(upper, position) {
            let verb = VERBS.iter().find(|verb| **verb == upper);
            self.has_unknown_verb |= verb.is_none();
            self.parts.extend(
                verb.filter(|verb| **verb != "WITH")
                    .map(|verb| Part::Operation(verb)),
            );
            let names_tables = matches!(
                upper,
                "SELECT" | "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "REPLACE" | "WITH"
            );
            if let Some(open) = self.open.last_mut() {
                *open = names_tables;
            }
            self.may_be_function = false;
            self.expects = match upper {
                "UPDATE" | "TRUNCATE" | "TABLE" => Expects::Table,
                "CREATE" | "ALTER" | "DROP" => Expects::ObjectKind,
                _ => Expects::Nothing,
            };
        } else if self.starts_tables(upper) {
            self.may_be_function = upper != "INTO";
            self.expects = Expects::Table;
        } else if NOT_TABLES.contains(&upper) && upper != "AS" {
            self.expects = Expects::Nothing;
        }
        upper.clone_into(&mut self.last);
    }

    /// `FOR UPDATE`, `ON CONFLICT DO UPDATE` and `ON DELETE` are not operations.
    fn starts_operation(&self, upper: &str, position: Position) -> bool {
        if self.operation_is("GRANT") || self.operation_is("REVOKE") {
            return position == Position::StatementStart;
        }
        match position {
            Position::StatementStart => true,
            _ if upper == "SELECT" => true,
            Position::AfterOpeningParenthesis => {
                matches!(upper, "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "WITH")
            }
            Position::AfterClosingParenthesis => {
                matches!(upper, "INSERT" | "UPDATE" | "DELETE" | "MERGE")
            }
            Position::Inside => false,
        }
    }

    fn starts_tables(&self, upper: &str) -> bool {
        match upper {
            // No tables follow in `EXTRACT(… FROM …)` and `IS DISTINCT FROM`.
            "FROM" => self.open.last() == Some(&true) && self.last != "DISTINCT",
            "JOIN" => true,
            "INTO" => matches!(
                self.last.as_str(),
                "INSERT" | "MERGE" | "REPLACE" | "IGNORE"
            ),
            "USING" => self.operation_is("DELETE") || self.operation_is("MERGE"),
            _ => false,
        }
    }

    fn sign(&mut self, sign: char) {
        self.position = Position::Inside;
        if sign == '.' && self.expects == Expects::RestOfName {
            self.expects = Expects::PartOfName;
            return;
        }
        if sign == '(' && self.expects == Expects::RestOfName && self.may_be_function {
            self.parts.pop();
        }
        self.end_of_name();
        if sign == ',' && self.expects == Expects::NextTable(self.open.len()) {
            self.expects = Expects::Table;
            return;
        }
        self.other();
        match sign {
            '(' => {
                self.open.push(false);
                self.position = Position::AfterOpeningParenthesis;
            }
            ')' => {
                if self.open.len() > 1 {
                    self.open.pop();
                }
                self.position = Position::AfterClosingParenthesis;
            }
            ';' => {
                self.open = vec![false];
                self.position = Position::StatementStart;
            }
            _ => {}
        }
    }

    fn other(&mut self) {
        self.position = Position::Inside;
        self.expects = Expects::Nothing;
        self.last.clear();
    }

    /// Whether this is the last operation.
    fn operation_is(&self, operation: &str) -> bool {
        let last = self.parts.iter().rev().find_map(|part| match part {
            Part::Operation(verb) => Some(*verb),
            Part::Table(_) => None,
        });
        last == Some(operation)
    }

    fn table(&mut self, name: &str) {
        self.parts.push(Part::Table(name.to_owned()));
        self.expects = Expects::RestOfName;
    }

    fn more_of_name(&mut self, name: &str) {
        if let Some(Part::Table(table)) = self.parts.last_mut() {
            table.push('.');
            table.push_str(name);
        }
        self.expects = Expects::RestOfName;
    }

    fn end_of_name(&mut self) {
        if matches!(self.expects, Expects::RestOfName | Expects::PartOfName) {
            self.expects = Expects::NextTable(self.open.len());
        }
    }

    fn summary(&self, is_whole: bool) -> Summary {
        let mut text = String::new();
        let mut operations = Vec::new();
        let mut tables: Vec<&str> = Vec::new();
        for part in &self.parts {
            let word = match part {
                Part::Operation(verb) => {
                    operations.push(*verb);
                    verb
                }
                Part::Table(name) => {
                    if !tables.contains(&name.as_str()) {
                        tables.push(name);
                    }
                    name.as_str()
                }
            };
            if text.len() + word.len() < MAX_BYTES {
                let gap = if text.is_empty() { "" } else { " " };
                // Writing to a `String` cannot fail.
                let _ = write!(text, "{gap}{word}");
            }
        }
        let is_certain = is_whole && !self.has_unknown_verb;
        let operation = match operations[..] {
            [only] if is_certain => Some(only),
            _ => None,
        };
        let table = match tables[..] {
            [only] if operation.is_some() && is_certain => Some(only.to_owned()),
            _ => None,
        };
        Summary {
            text,
            operation,
            table,
        }
    }
}
