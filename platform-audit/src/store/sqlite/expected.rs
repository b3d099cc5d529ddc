//! The audit schema as the migrations create it.

use serde::Deserialize;
use sqlx::Connection as _;

use super::super::{AuditDatabase, Dialect, migrate};
use crate::error::Error;
use crate::sql::identifier;

/// An object of `sqlite_schema`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Object {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: String,
    /// The table to which an index or trigger belongs; for a table, its own name.
    pub(super) table: String,
    /// The `CREATE` statement.
    pub(super) sql: String,
}

impl Object {
    pub(super) fn trigger(name: String, table: String, sql: String) -> Self {
        Self {
            kind: "trigger".to_owned(),
            name,
            table,
            sql,
        }
    }

    /// Returns the statements that create this object, after dropping any object of the same kind
    /// and name.
    pub(super) fn create_anew(&self) -> String {
        format!("{} {};\n", self.drop_if_exists(), self.sql)
    }

    pub(super) fn drop_if_exists(&self) -> String {
        format!(
            "DROP {} IF EXISTS {};",
            self.kind.to_uppercase(),
            identifier(&self.name)
        )
    }
}

/// Migrates an empty in-memory database and lists its objects. This yields their definitions
/// exactly as SQLite stores them, without parsing the migrations.
pub(super) async fn expected<DB: AuditDatabase>(schema: &str) -> Result<Vec<Object>, Error> {
    let mut memory = DB::Connection::connect("sqlite::memory:")
        .await
        .map_err(Error::Store)?;
    migrate::run::<DB>(&mut memory, Dialect::Sqlite, schema, false).await?;
    let statement = include_str!("objects.sql").replace("{where}", "true");
    let text = DB::fetch_text(&mut memory, statement.into(), Vec::new())
        .await
        .map_err(Error::Store)?;
    memory.close().await.map_err(Error::Store)?;
    serde_json::from_str(text.as_deref().unwrap_or("[]"))
        .map_err(|error| Error::Store(sqlx::Error::Decode(Box::new(error))))
}
