//! The database of one scheme, with the roles of a production system: the owner role owns the
//! tables and cannot log in; the service connects as the application role, which has the
//! privileges that it needs and no others. Measured as a superuser, requests would skip the checks
//! of privileges.

use platform_harness::database::{SERVER, TestDatabase};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};

use super::schemes::{ENTRY, Scheme};

/// The locale of databases in production: the default of Amazon RDS and Aurora and of Postgres'
/// container images. Its texts are compared by the C library, which takes longer than comparing
/// bytes as in the locale C.
pub(crate) const LOCALE: &str = "en_US.UTF-8";

/// A database with its roles. When this value is dropped, they are dropped from the server.
pub(crate) struct Installation {
    database: TestDatabase,
    /// Connections with the privileges of the owner role.
    owner: PgPool,
    app: String,
}

impl Installation {
    /// Sets up `scheme` on `server`, or on the one that `./test` started.
    pub(crate) async fn new(scheme: &Scheme, server: Option<String>) -> Self {
        let server = server.or_else(|| std::env::var(SERVER).ok());
        let server = server.expect("a server was started, as by ./test");
        let mut database = match TestDatabase::postgres_with_locale(server.clone(), LOCALE).await {
            Ok(database) => database,
            Err(_) => {
                eprintln!(
                    "\rthe server lacks the locale {LOCALE}, so texts are compared as bytes, which favours the schemes without COLLATE \"C\": as root, run localedef -i en_US -f UTF-8 {LOCALE}"
                );
                TestDatabase::postgres_on(server).await
            }
        };
        let owner = database.role("owner", "NOLOGIN").await;
        let app = database.role("app", "LOGIN").await;
        let url: PgConnectOptions = database.url().parse().expect("a URL of Postgres");
        let name = url.get_database().expect("a database").to_owned();
        let superuser = PgPool::connect_with(url.clone());
        let superuser = superuser.await.expect("the server accepts connections");
        let privileges = format!(
            "GRANT CREATE ON DATABASE {name} TO {owner}; GRANT CREATE ON SCHEMA public TO {owner}"
        );
        let granted = sqlx::raw_sql(AssertSqlSafe(privileges)).execute(&superuser);
        granted.await.expect("a superuser may grant");
        superuser.close().await;
        let owner = PgPoolOptions::new()
            .max_connections(2)
            .connect_with(url.options([("role", owner)]))
            .await
            .expect("a superuser may become the owner");
        let installation = Self {
            database,
            owner,
            app,
        };
        installation.run(ENTRY).await;
        (scheme.set_up)(&installation).await;
        installation
    }

    /// Runs statements as the owner; `{app}` in them is the application role.
    pub(crate) async fn run(&self, statements: &str) {
        let statements = AssertSqlSafe(statements.replace("{app}", &self.app));
        let done = sqlx::raw_sql(statements).execute(&self.owner).await;
        done.expect("the statements succeed");
    }

    pub(crate) fn owner(&self) -> &PgPool {
        &self.owner
    }

    /// The name of the application role.
    pub(crate) fn app(&self) -> &str {
        &self.app
    }

    /// The URL with which the service connects.
    pub(crate) fn app_url(&self) -> String {
        self.database.url_as(&self.app)
    }

    /// The URL with which measurements connect, as a superuser.
    pub(crate) fn superuser_url(&self) -> &str {
        self.database.url()
    }
}
