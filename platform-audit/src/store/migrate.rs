use std::borrow::Cow;
use std::collections::BTreeSet;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;

use super::{AuditDatabase, Dialect, sessions};
use crate::error::Error;

/// Version, description and text of each migration. `{schema}` is replaced with the schema, or on
/// SQLite with the prefix of the tables. A released text is never edited: sqlx checks its checksum.
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
    (7, "seal", include_str!("postgres/migrations/0007_seal.sql")),
];

const SQLITE: Migrations = &[
    (
        1,
        "record",
        include_str!("sqlite/migrations/0001_record.sql"),
    ),
    (2, "guard", include_str!("sqlite/migrations/0002_guard.sql")),
    (3, "seal", include_str!("sqlite/migrations/0003_seal.sql")),
];

fn migrations(dialect: Dialect) -> Migrations {
    match dialect {
        Dialect::Postgres => POSTGRES,
        Dialect::Sqlite => SQLITE,
    }
}

/// The difference between the database's migrations and those of this version.
#[derive(Debug, Default)]
pub(crate) struct Drift {
    /// Migrations that the database lacks.
    pub(crate) behind: Vec<i64>,
    /// Migrations that this version does not know.
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

/// Postgres' `unique_violation`, `duplicate_schema`, `duplicate_table` and `duplicate_object`:
/// another instance created the schema concurrently.
const CREATED_CONCURRENTLY: [&str; 4] = ["23505", "42P06", "42P07", "42710"];

/// How often a migration is attempted after such a conflict.
const ATTEMPTS: u32 = 3;

/// Migrates the audit schema in one transaction. Instances that start together wait for each other.
pub(crate) async fn run<DB: AuditDatabase>(
    connection: &mut DB::Connection,
    dialect: Dialect,
    schema: &str,
    create_schema: bool,
) -> Result<(), Error> {
    let mut attempts = 1;
    loop {
        let failed = match in_transaction::<DB>(connection, dialect, schema, create_schema).await {
            Ok(()) => return Ok(()),
            Err(failed) => failed,
        };
        let code = code(&failed);
        let code = code.as_deref().unwrap_or_default();
        if attempts < ATTEMPTS && CREATED_CONCURRENTLY.contains(&code) {
            attempts += 1;
            continue;
        }
        let schema = schema.to_owned();
        if code == "55P03"
            && let Some(sessions) = sessions::<DB>(connection, dialect, &schema, &[]).await
        {
            return Err(Error::Locked { schema, sessions });
        }
        return Err(Error::Migrate {
            schema,
            source: failed,
        });
    }
}

/// The SQLSTATE of an error.
fn code(error: &MigrateError) -> Option<String> {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return None;
    };
    Some(error.as_database_error()?.code()?.into_owned())
}

async fn in_transaction<DB: AuditDatabase>(
    connection: &mut DB::Connection,
    dialect: Dialect,
    schema: &str,
    create_schema: bool,
) -> Result<(), MigrateError> {
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
    // sqlx's advisory lock has a known key, so any role that can connect could hold it.
    migrator.set_locking(false);
    let begin = match dialect {
        Dialect::Postgres => {
            // Even if it exists, IF NOT EXISTS requires the privilege to create one.
            if create_schema {
                migrator.create_schema(schema.to_owned());
            }
            migrator.dangerous_set_table_name(format!("{schema}.migration"));
            "BEGIN ISOLATION LEVEL READ COMMITTED"
        }
        Dialect::Sqlite => {
            migrator.dangerous_set_table_name(format!("{schema}_migration"));
            // Instances that start together wait for the first writer.
            "BEGIN IMMEDIATE"
        }
    };
    let begin = begin.into_sql_str();
    DB::TransactionManager::begin(connection, Some(begin)).await?;
    let migrated = async {
        if dialect == Dialect::Postgres {
            let lock = include_str!("postgres/lock_migration.sql").replace("{schema}", schema);
            DB::run_raw(connection, AssertSqlSafe(lock).into_sql_str()).await?;
        }
        DB::migrate(connection, &migrator).await
    };
    if let Err(error) = migrated.await {
        // The cause of the failure matters more than an error of the rollback.
        let _ = DB::TransactionManager::rollback(connection).await;
        return Err(error);
    }
    Ok(DB::TransactionManager::commit(connection).await?)
}
