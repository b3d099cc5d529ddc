use anyhow::{Context, bail};
use clap::Args;
use platform_audit::query::AuditReader;
use platform_audit::{Audit, AuditBuilder};
use sqlx::any::AnyPoolOptions;
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Connection};

/// The database.
#[derive(Debug, Args)]
pub(crate) struct Database {
    /// The database: postgres://USER@HOST/NAME or sqlite:FILE
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: String,
}

/// The database and the service's audit log in it.
#[derive(Debug, Args)]
pub(crate) struct Target {
    #[command(flatten)]
    database: Database,
    /// The service's name, as in Audit::builder(pool, "accounting")
    #[arg(long, value_name = "NAME")]
    service: String,
    /// The audit schema (on SQLite, the table prefix), if it is not <service>_audit
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
}

impl Target {
    pub(crate) fn new(database_url: String, service: String, schema: Option<String>) -> Self {
        Self {
            database: Database { database_url },
            service,
            schema,
        }
    }

    /// Connects, and assumes `role` if one is given.
    pub(crate) async fn open(&self, role: Option<&str>) -> anyhow::Result<AuditBuilder<Any>> {
        let builder = Audit::builder(self.database.pool(role).await?, self.service.clone());
        Ok(match &self.schema {
            Some(schema) => builder.schema(schema),
            None => builder,
        })
    }

    /// Connects and returns a reader.
    pub(crate) async fn reader(&self) -> anyhow::Result<AuditReader<Any>> {
        let pool = self.database.pool(None).await?;
        let reader = match &self.schema {
            Some(schema) => AuditReader::in_schema(pool, self.service.clone(), schema)?,
            None => AuditReader::new(pool, self.service.clone())?,
        };
        // From the operating system, because environment variables can be set by anyone.
        let unknown = |_| "unknown".to_owned();
        let os_user = whoami::username().unwrap_or_else(unknown);
        let host = whoami::hostname().unwrap_or_else(unknown);
        Ok(reader.running_as(os_user, host))
    }
}

impl Database {
    /// Connects, and assumes `role` if one is given.
    pub(crate) async fn pool(&self, role: Option<&str>) -> anyhow::Result<AnyPool> {
        let kind = self.database_url.split(':').next().unwrap_or_default();
        if !matches!(kind, "postgres" | "postgresql" | "sqlite") {
            bail!(
                "--database-url is not a database URL: use postgres://USER@HOST/NAME or sqlite:FILE"
            );
        }
        sqlx::any::install_default_drivers();
        let become_role = role.map(|role| format!("SET ROLE \"{}\"", role.replace('"', "\"\"")));
        // Connect once without a pool: a pool retries until its timeout and hides the cause.
        let mut first_connection = AnyConnection::connect(&self.database_url)
            .await
            .context(match kind {
                "sqlite" => "the database cannot be opened: check --database-url; append ?mode=rwc to create a file that does not exist",
                _ => "the database cannot be opened: check --database-url, and that the server is running and accepts this user",
            })?;
        if let Some(statement) = become_role.clone() {
            sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut first_connection)
                .await
                .context(
                    "the given role cannot be assumed: the connecting role has to be a member of it",
                )?;
        }
        first_connection.close().await?;
        let pool = AnyPoolOptions::new()
            .max_connections(4)
            .after_connect(move |connection, _| {
                let statement = become_role.clone();
                Box::pin(async move {
                    if let Some(statement) = statement {
                        sqlx::raw_sql(AssertSqlSafe(statement))
                            .execute(connection)
                            .await?;
                    }
                    Ok(())
                })
            })
            .connect(&self.database_url)
            .await?;
        Ok(pool)
    }
}
