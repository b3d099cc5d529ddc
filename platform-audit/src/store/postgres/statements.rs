//! The statements that write records, and the expression that reads one, from the SQL files in this
//! folder. This module replaces the placeholders of columns; the caller replaces `{schema}`.

use std::sync::LazyLock;

use super::super::columns::{list, names, written};
use crate::record::{COLUMNS, Column, Kind, Source, columns_from};

/// Writes records that are passed as one JSON argument.
pub(in super::super) static INSERT: LazyLock<String> = LazyLock::new(|| {
    let typed = |column: &Column| format!("{} {}", column.name, type_of(column));
    include_str!("insert.sql")
        .replace("{columns}", &names(written()))
        .replace("{typed_columns}", &list(written(), typed))
});

/// Writes one record, once [`insert_one`] has filled in its columns.
pub(in super::super) const INSERT_ONE: &str = include_str!("insert_one.sql");

/// Returns the statement [`INSERT_ONE`] for `columns`. Each column is an argument; the last
/// argument is the mark of the transaction.
pub(in super::super) fn insert_one(template: &str, columns: &[&'static Column]) -> String {
    let numbered = || (1..).zip(columns.iter().copied());
    template
        .replace("{columns}", &names(columns.iter().copied()))
        .replace("{first_argument}", &list(numbered().take(1), argument))
        .replace("{other_arguments}", &list(numbered().skip(1), argument))
        .replace("{mark}", &format!("${}", columns.len() + 1))
}

/// Writes the records of one transaction. The columns that differ between them are arrays.
pub(in super::super) static INSERT_SEVERAL: LazyLock<String> = LazyLock::new(|| {
    let own = || columns_from(Source::Record);
    let count = own().count();
    let array = |(at, column)| format!("${at}::{}[]", type_of(column));
    include_str!("insert_several.sql")
        .replace("{own_columns}", &names(own()))
        .replace("{shared_columns}", &names(columns_from(Source::Operation)))
        .replace("{arrays}", &list(numbered().take(count), array))
        .replace(
            "{shared_arguments}",
            &list(numbered().skip(count), argument),
        )
        .replace("{mark}", &format!("${}", written().count() + 1))
});

/// Selects a record as JSON text, from a table with the name or alias `record`.
pub(super) static ROW: LazyLock<String> = LazyLock::new(|| {
    let texts = || COLUMNS.iter().filter(|column| is_text(column));
    let json = || COLUMNS.iter().filter(|column| column.kind == Kind::Json);
    let others = COLUMNS
        .iter()
        .filter(|column| !is_text(column) && column.kind != Kind::Json);
    let length = |column: &Column| format!("octet_length({})", value(column));
    let size = |column: &Column| format!("pg_column_size({})", value(column));
    let pair = |column: &Column| format!("'{}', {}", column.name, value(column));
    let bounded = |column: &Column| {
        let (name, size, value) = (column.name, size(column), value(column));
        format!("'{name}', CASE WHEN {size} <= {JSON_BYTES} THEN {value} END")
    };
    include_str!("row.sql")
        .replace("{text_lengths}", &list(texts(), length))
        .replace("{json_sizes}", &list(json(), size))
        .replace("{json_bytes}", &JSON_BYTES.to_string())
        .replace("{other_members}", &list(others, pair))
        .replace("{json_members}", &list(json(), bounded))
        .replace("{texts}", &list(texts(), |it| format!("({})", pair(it))))
});

/// The maximum stored size (possibly compressed) of a JSON column that is read, in bytes.
const JSON_BYTES: usize = 256 * 1024;

fn is_text(column: &Column) -> bool {
    matches!(column.kind, Kind::Text | Kind::Word)
}

/// A column of a record, in SQL. Columns with an enumerated domain are cast to text.
fn value(column: &Column) -> String {
    match column.kind {
        Kind::Word => format!("record.{}::text", column.name),
        _ => format!("record.{}", column.name),
    }
}

/// The columns that a statement writes, with the numbers of their arguments.
fn numbered() -> impl Iterator<Item = (usize, &'static Column)> {
    (1..).zip(written())
}

/// The placeholder of an argument. Text needs no cast, because drivers send it as text.
fn argument((at, column): (usize, &Column)) -> String {
    if is_text(column) {
        format!("${at}")
    } else {
        format!("${at}::{}", type_of(column))
    }
}

fn type_of(column: &Column) -> &'static str {
    match column.kind {
        Kind::Uuid => "pg_catalog.uuid",
        Kind::TransactionId => "pg_catalog.xid8",
        Kind::Moment => "pg_catalog.timestamptz",
        Kind::Text | Kind::Word => "pg_catalog.text",
        Kind::Status => "smallint",
        Kind::Json => "pg_catalog.jsonb",
    }
}
