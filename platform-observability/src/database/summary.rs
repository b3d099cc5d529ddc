//! What a statement does, and to which tables: `INSERT entry SELECT draft`.

use std::fmt::Write;

use super::lexer::{Token, Unclear, tokens};
use super::words::{NO_NAMES, VERBS};

/// How long a summary may be, by the conventions, and how much of a statement is read for it.
const LONGEST: usize = 255;
const READ: usize = 8 * 1024;

/// What is known of a statement, or of several that were sent at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Operations, each with its tables; empty if nothing is known.
    pub(super) text: String,
    /// The operation, where there is one only.
    pub(super) operation: Option<&'static str>,
    /// The table, where there is one operation on one table only.
    pub(super) table: Option<String>,
}

/// Reads `sql`. Data never gets into a summary: it is made of known verbs and of names that are
/// where a table's name has to be.
pub(super) fn summary(sql: &str) -> Summary {
    let (read, is_whole) = match sql.char_indices().nth(READ) {
        Some((end, _)) => (sql.get(..end).unwrap_or_default(), false),
        None => (sql, true),
    };
    let mut reader = Reader::default();
    let is_clear = tokens(read).try_for_each(|token| {
        reader.read(token?);
        Ok::<_, Unclear>(())
    });
    reader.end_of_name();
    reader.summary(is_whole && is_clear.is_ok())
}

struct Reader {
    parts: Vec<Part>,
    /// Of the statement and of each open parenthesis: whether a FROM there names tables.
    open: Vec<bool>,
    begins: Begins,
    expects: Expects,
    /// Whether a parenthesis after the name that comes makes it a function.
    may_be_function: bool,
    /// The last word that was no name, in upper case.
    last: String,
    /// Whether something began that is not known.
    is_uncertain: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            open: vec![false],
            begins: Begins::Statement,
            expects: Expects::Nothing,
            may_be_function: false,
            last: String::new(),
            is_uncertain: false,
        }
    }
}

enum Part {
    Operation(&'static str),
    Table(String),
}

/// What the next word may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    Nothing,
    Statement,
    /// What stands in parentheses.
    Inner,
    /// What follows them, which after `WITH` is the statement.
    AfterInner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    Nothing,
    Table,
    /// `.` and the next part of its name, or what ends it.
    RestOfName,
    PartOfName,
    /// `,` and the next table, at this depth.
    NextTable(usize),
    /// A word that says what is created, altered or dropped.
    Kind,
}

impl Reader {
    fn read(&mut self, token: Token<'_>) {
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
                self.begins = Begins::Nothing;
            }
            Token::Sign(sign) => self.sign(sign),
            Token::Literal | Token::Parameter(_) => self.other(),
        }
    }

    fn word(&mut self, word: &str) {
        let begins = std::mem::replace(&mut self.begins, Begins::Nothing);
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
            Expects::Table if !NO_NAMES.contains(&upper) => return self.table(word),
            Expects::Kind => {
                self.expects = match upper {
                    "TABLE" => Expects::Table,
                    "TEMP" | "TEMPORARY" | "UNLOGGED" => Expects::Kind,
                    _ => Expects::Nothing,
                };
                return;
            }
            Expects::RestOfName => self.end_of_name(),
            _ => {}
        }
        if self.begins_operation(upper, begins) {
            let verb = VERBS.iter().find(|verb| **verb == upper);
            self.is_uncertain |= verb.is_none();
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
                "CREATE" | "ALTER" | "DROP" => Expects::Kind,
                _ => Expects::Nothing,
            };
        } else if self.begins_tables(upper) {
            self.may_be_function = upper != "INTO";
            self.expects = Expects::Table;
        } else if NO_NAMES.contains(&upper) && upper != "AS" {
            self.expects = Expects::Nothing;
        }
        upper.clone_into(&mut self.last);
    }

    /// `FOR UPDATE`, `ON CONFLICT DO UPDATE`, `ON DELETE` are no operations.
    fn begins_operation(&self, upper: &str, begins: Begins) -> bool {
        if self.does("GRANT") || self.does("REVOKE") {
            return begins == Begins::Statement;
        }
        match begins {
            Begins::Statement => true,
            _ if upper == "SELECT" => true,
            Begins::Inner => matches!(upper, "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "WITH"),
            Begins::AfterInner => matches!(upper, "INSERT" | "UPDATE" | "DELETE" | "MERGE"),
            Begins::Nothing => false,
        }
    }

    fn begins_tables(&self, upper: &str) -> bool {
        match upper {
            // `EXTRACT(… FROM …)` and `IS DISTINCT FROM` name no tables.
            "FROM" => self.open.last() == Some(&true) && self.last != "DISTINCT",
            "JOIN" => true,
            "INTO" => matches!(
                self.last.as_str(),
                "INSERT" | "MERGE" | "REPLACE" | "IGNORE"
            ),
            "USING" => self.does("DELETE") || self.does("MERGE"),
            _ => false,
        }
    }

    fn sign(&mut self, sign: char) {
        self.begins = Begins::Nothing;
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
                self.begins = Begins::Inner;
            }
            ')' => {
                if self.open.len() > 1 {
                    self.open.pop();
                }
                self.begins = Begins::AfterInner;
            }
            ';' => {
                self.open = vec![false];
                self.begins = Begins::Statement;
            }
            _ => {}
        }
    }

    fn other(&mut self) {
        self.begins = Begins::Nothing;
        self.expects = Expects::Nothing;
        self.last.clear();
    }

    /// Whether the last operation is this one.
    fn does(&self, operation: &str) -> bool {
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
            if text.len() + word.len() < LONGEST {
                let gap = if text.is_empty() { "" } else { " " };
                // Nothing that is written to a text fails.
                let _ = write!(text, "{gap}{word}");
            }
        }
        let is_certain = is_whole && !self.is_uncertain;
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
