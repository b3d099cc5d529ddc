use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::{AuditDatabase, Dialect};
use crate::error::Error;

/// Version, description and text of each migration; `{schema}` stands for the schema, on SQLite
/// for the prefix of the tables. A released text is never edited: sqlx checks its checksum.
type Migrations = &'static [(i64, &'static str, &'static str)];

const POSTGRES: Migrations = &[
    (
        1,
        "record",
        include_str!("postgres/migrations/0001_record.sql"),
    ),
    (
        2,
        "partitions",
        include_str!("postgres/migrations/0002_partitions.sql"),
    ),
];

const SQLITE: Migrations = &[(
    1,
    "record",
    include_str!("sqlite/migrations/0001_record.sql"),
)];

/// Brings the audit schema up to date; instances that start together wait for each other.
pub(crate) async fn run<DB: AuditDatabase>(
    connection: &mut DB::Connection,
    dialect: Dialect,
    schema: &str,
) -> Result<(), Error> {
    let migrations = match dialect {
        Dialect::Postgres => POSTGRES,
        Dialect::Sqlite => SQLITE,
    };
    let mut migrator = Migrator::with_migrations(
        migrations
            .iter()
            .map(|&(version, description, text)| {
                Migration::new(
                    version,
                    Cow::Borrowed(description),
                    MigrationType::Simple,
                    AssertSqlSafe(text.replace("{schema}", schema)).into_sql_str(),
                    false,
                )
            })
            .collect(),
    );
    match dialect {
        Dialect::Postgres => {
            migrator.create_schema(schema.to_owned());
            migrator.dangerous_set_table_name(format!("{schema}.migration"));
        }
        Dialect::Sqlite => {
            migrator.dangerous_set_table_name(format!("{schema}_migration"));
        }
    }
    let failed = |source| Error::Migrate {
        schema: schema.to_owned(),
        source,
    };
    DB::migrate(connection, &migrator).await.map_err(failed)
}
