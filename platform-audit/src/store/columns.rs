//! The columns of a record in SQL: column lists for the statements, and arguments in the order of
//! the statements' placeholders.

use serde::Serialize;

use super::Argument;
use crate::record::{AuditRecord, Column, ColumnValue, Source, columns_from};

/// The columns that a statement writes: first those that differ between the records of a
/// transaction, then those that the records share.
pub(super) fn written() -> impl Iterator<Item = &'static Column> {
    columns_from(Source::Record).chain(columns_from(Source::Operation))
}

/// Returns the items in SQL, separated by commas.
pub(super) fn list<T>(items: impl IntoIterator<Item = T>, sql: impl Fn(T) -> String) -> String {
    items.into_iter().map(sql).collect::<Vec<_>>().join(", ")
}

/// The names of `columns`, separated by commas.
pub(super) fn names(columns: impl IntoIterator<Item = &'static Column>) -> String {
    list(columns, |column| column.name.to_owned())
}

/// The [written] columns of `record` that differ from their defaults. Most records of a service
/// leave out the same ones.
pub(super) fn given(record: &AuditRecord) -> impl Iterator<Item = &'static Column> {
    written().filter(|column| !(column.value)(record).is_default())
}

/// Passes the [given] columns of `record` to `put`.
pub(super) fn columns(record: &AuditRecord, put: &mut dyn FnMut(Argument<'_>)) {
    for column in given(record) {
        pass((column.value)(record), put);
    }
}

/// Passes the columns of a transaction's records to `put`. A column that may differ between the
/// records is one array; a column that they share is passed once.
pub(super) fn columns_of_several(records: &[AuditRecord], put: &mut dyn FnMut(Argument<'_>)) {
    for column in columns_from(Source::Record) {
        let mut array = "{".to_owned();
        for record in records {
            if array.len() > 1 {
                array.push(',');
            }
            pass(
                (column.value)(record),
                &mut |argument| match argument.text() {
                    Some(text) => quote(&text, &mut array),
                    None => array.push_str("NULL"),
                },
            );
        }
        array.push('}');
        put(array.as_str().into());
    }
    if let Some(first) = records.first() {
        for column in columns_from(Source::Operation) {
            pass((column.value)(first), put);
        }
    }
}

fn pass(value: ColumnValue<'_>, put: &mut dyn FnMut(Argument<'_>)) {
    put(match value {
        ColumnValue::Uuid(id) => Argument::Uuid(id),
        ColumnValue::Moment(at) => Argument::Time(at),
        ColumnValue::Text(text) => Argument::Text(text),
        ColumnValue::Status(status) => Argument::Status(status),
        ColumnValue::Json(value) => return put(Argument::Json(&json(&value))),
    });
}

/// Appends `text` as a quoted element of a Postgres array literal.
fn quote(text: &str, to: &mut String) {
    to.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            to.push('\\');
        }
        to.push(character);
    }
    to.push('"');
}

/// Every key is a string and every value is JSON already, so this cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde::Deserialize;

    use super::written;
    use crate::record::{COLUMNS, Kind, Source};

    #[derive(Deserialize)]
    struct Property {
        kind: String,
        object: String,
        definition: String,
    }

    /// The properties of a migrated database. Another test compares `expected.json` with a
    /// database.
    fn postgres_catalog() -> Vec<Property> {
        serde_json::from_str(include_str!("postgres/expected.json")).unwrap()
    }

    #[test]
    fn the_columns_are_those_of_postgres() {
        let properties = postgres_catalog();
        let of_kind = |kind: &str| -> BTreeMap<&str, &str> {
            let of_kind = properties.iter().filter(|it| it.kind == kind);
            let columns = of_kind.filter_map(|it| {
                let name = it.object.strip_prefix("{schema}.record.")?;
                Some((name, &*it.definition))
            });
            columns.collect()
        };
        let types = of_kind("column");
        let not_null = of_kind("not_null");
        assert_eq!(types.len(), COLUMNS.len(), "{types:?}");
        for column in &COLUMNS {
            let name = column.name;
            let known: &[&str] = match column.kind {
                Kind::Uuid => &["uuid"],
                Kind::TransactionId => &["xid8"],
                Kind::Moment => &["{schema}.moment", "timestamp with time zone"],
                Kind::Text => &["text COLLATE \"C\"", "text"],
                Kind::Word => &["{schema}.actor_kind", "{schema}.outcome"],
                Kind::Status => &["smallint"],
                Kind::Json => &["{schema}.bounded_object", "{schema}.bounded_array"],
            };
            let stored_as = types.get(name).copied().unwrap_or_default();
            assert!(known.contains(&stored_as), "{name} {stored_as}");
            let is_never_null = !column.nullable || column.source == Source::Database;
            assert_eq!(not_null.contains_key(name), is_never_null, "{name}");
        }
    }

    #[test]
    fn the_columns_are_those_of_the_views() {
        let properties = postgres_catalog();
        let view = |name: &str| -> Vec<&str> {
            let view = properties.iter().find(|it| it.object == name);
            let (_, columns) = view.unwrap().definition.split_once(" SELECT ").unwrap();
            let (columns, _) = columns.split_once("FROM").unwrap();
            columns.split(',').map(str::trim).collect()
        };
        let all: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
        assert_eq!(view("{schema}.records"), all);
        let written: BTreeSet<_> = written().map(|column| column.name).collect();
        let through_view: BTreeSet<_> = view("{schema}.record_insert").into_iter().collect();
        assert_eq!(through_view, written);
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn the_columns_are_those_of_sqlite() {
        use sqlx::Connection as _;

        use super::super::{AuditDatabase, Dialect, migrate};

        let mut memory = sqlx::SqliteConnection::connect("sqlite::memory:")
            .await
            .unwrap();
        migrate::run::<sqlx::Sqlite>(&mut memory, Dialect::Sqlite, "ledger_audit", false)
            .await
            .unwrap();
        let mut texts = async |statement: &str| {
            let texts = sqlx::Sqlite::fetch_texts(&mut memory, statement.into(), Vec::new());
            texts.await.unwrap()
        };
        let stored = texts(
            r#"SELECT name || ' ' || type || ' ' || "notnull" FROM pragma_table_info('ledger_audit_record') ORDER BY cid"#,
        );
        let stored = stored.await;
        let listed = COLUMNS.iter().map(|column| {
            let stored_as = match column.kind {
                Kind::Status => "INTEGER",
                _ => "TEXT",
            };
            let is_never_null = !column.nullable || column.source == Source::Database;
            format!("{} {stored_as} {}", column.name, u8::from(is_never_null))
        });
        assert_eq!(stored, listed.collect::<Vec<_>>());

        // The toolkit truncates texts to what the table accepts.
        let table = texts("SELECT sql FROM sqlite_schema WHERE name = 'ledger_audit_record'").await;
        for column in &COLUMNS {
            let Some(limit) = column.limit else { continue };
            let bytes = format!("length(CAST({} AS BLOB))", column.name);
            let accepted = [
                format!("{bytes} <= {limit})"),
                format!("{bytes} BETWEEN 1 AND {limit})"),
            ];
            assert!(accepted.iter().any(|it| table[0].contains(it)), "{bytes}");
        }
    }
}
