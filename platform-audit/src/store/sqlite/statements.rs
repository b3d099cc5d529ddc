//! The statement that writes records, and the expression that reads one, from the SQL files in this
//! folder. This module replaces the placeholders of columns; the caller replaces `{schema}`.

use std::sync::LazyLock;

use super::super::columns::{list, names, written};
use crate::record::{COLUMNS, Column, Kind};

/// Writes records that are passed as one JSON argument. The other argument is the id of their
/// transaction.
pub(in super::super) static INSERT: LazyLock<String> = LazyLock::new(|| {
    let member = |column: &Column| match column.kind {
        Kind::Json => format!("value -> '{}'", column.name),
        _ => format!("value ->> '{}'", column.name),
    };
    include_str!("insert.sql")
        .replace("{columns}", &names(written()))
        .replace("{members}", &list(written(), member))
});

/// A record as JSON text.
pub(super) static ROW: LazyLock<String> = LazyLock::new(|| {
    let member = |column: &Column| match column.kind {
        Kind::Json => format!("'{0}', json({0})", column.name),
        _ => format!("'{0}', {0}", column.name),
    };
    include_str!("row.sql").replace("{members}", &list(&COLUMNS, member))
});
