use std::borrow::Cow;
use std::collections::BTreeSet;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;

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
    (
        3,
        "guard",
        include_str!("postgres/migrations/0003_guard.sql"),
    ),
    (
        4,
        "write_record",
        include_str!("postgres/migrations/0004_write_record.sql"),
    ),
    (
        5,
        "roles",
        include_str!("postgres/migrations/0005_roles.sql"),
    ),
    (
        6,
        "query",
        include_str!("postgres/migrations/0006_query.sql"),
    ),
];

const SQLITE: Migrations = &[
    (
        1,
        "record",
        include_str!("sqlite/migrations/0001_record.sql"),
    ),
    (2, "guard", include_str!("sqlite/migrations/0002_guard.sql")),
];

fn migrations(dialect: Dialect) -> Migrations {
    match dialect {
        Dialect::Postgres => POSTGRES,
        Dialect::Sqlite => SQLITE,
    }
}

/// How the database's migrations differ from those that are known here.
#[derive(Debug, Default)]
pub(crate) struct Drift {
    /// Known here, and not applied there.
    pub(crate) behind: Vec<i64>,
    /// Applied there, and unknown here.
    pub(crate) ahead: Vec<i64>,
}

impl Drift {
    pub(crate) fn of(dialect: Dialect, applied: &[i64]) -> Self {
        let known: BTreeSet<i64> = migrations(dialect).iter().map(|it| it.0).collect();
        let applied: BTreeSet<i64> = applied.iter().copied().collect();
        Self {
            behind: known.difference(&applied).copied().collect(),
            ahead: applied.difference(&known).copied().collect(),
        }
    }
}

/// Brings the audit schema up to date; instances that start together wait for each other.
pub(crate) async fn run<DB: AuditDatabase>(
    connection: &mut DB::Connection,
    dialect: Dialect,
    schema: &str,
    create_schema: bool,
) -> Result<(), Error> {
    let mut migrator = Migrator::with_migrations(
        migrations(dialect)
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
            // Even where it exists, IF NOT EXISTS asks for the right to create one.
            if create_schema {
                migrator.create_schema(schema.to_owned());
            }
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
    // sqlx has a lock for Postgres only. The first writer keeps the others waiting; dropped, or after an
    // error, all of it is rolled back.
    if dialect == Dialect::Sqlite {
        let begin = "BEGIN IMMEDIATE".into_sql_str();
        DB::TransactionManager::begin(connection, Some(begin))
            .await
            .map_err(|error| failed(error.into()))?;
        if let Err(error) = DB::migrate(connection, &migrator).await {
            // What it says is why the migration failed.
            let _ = DB::TransactionManager::rollback(connection).await;
            return Err(failed(error));
        }
        return DB::TransactionManager::commit(connection)
            .await
            .map_err(|error| failed(error.into()));
    }
    DB::migrate(connection, &migrator).await.map_err(failed)
}
