//! One database for each test, which the test creates and drops.

use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

/// The variable with the URL of the server that `./test` started.
pub const SERVER: &str = "PLATFORM_TEST_POSTGRES";

/// A database of one test. Dropping this drops the database and its roles.
#[derive(Debug)]
pub struct TestDatabase {
    url: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Postgres {
        server: String,
        name: String,
        roles: Vec<String>,
    },
    /// The folder of the file, deleted when dropped.
    Sqlite(#[expect(dead_code)] TempDir),
}

impl TestDatabase {
    /// Creates a database on the server that `./test` started.
    ///
    /// # Panics
    ///
    /// If `PLATFORM_TEST_POSTGRES` is not set, or the database cannot be created.
    pub async fn postgres() -> Self {
        let server = std::env::var(SERVER).unwrap_or_else(|_| {
            panic!(
                "{SERVER} is not set: run the tests with ./test, which starts a private Postgres"
            )
        });
        Self::postgres_on(server).await
    }

    /// A new database on the server at this URL, with the server's locale.
    ///
    /// # Panics
    ///
    /// If it cannot be created.
    pub async fn postgres_on(server: String) -> Self {
        Self::create_on(server, "")
            .await
            .expect("the test's database is created")
    }

    /// A new database with this locale on the server at this URL.
    ///
    /// # Errors
    ///
    /// If the server's operating system lacks the locale.
    pub async fn postgres_with_locale(server: String, locale: &str) -> sqlx::Result<Self> {
        let options = format!("TEMPLATE template0 LOCALE '{locale}'");
        Self::create_on(server, &options).await
    }

    async fn create_on(server: String, options: &str) -> sqlx::Result<Self> {
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        let statement = format!("CREATE DATABASE {name} {options}");
        run_on::<PgConnection>(server.clone(), statement).await?;
        let mut url: url::Url = server.parse().expect("the server's address is a URL");
        url.set_path(&name);
        Ok(Self {
            url: url.into(),
            kind: Kind::Postgres {
                server,
                name,
                roles: Vec::new(),
            },
        })
    }

    /// Creates a file in its own folder, with a write-ahead log, as a service would.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder is created");
        let file = url::Url::from_file_path(folder.path().join("test.db"))
            .expect("the path of a temporary folder is absolute");
        let url = format!("sqlite://{}?mode=rwc", file.path());
        // The journal mode is stored in the file.
        on_a_thread(run_on::<SqliteConnection>(
            url.clone(),
            "PRAGMA journal_mode = WAL".to_owned(),
        ))
        .expect("the test's database is created");
        Self {
            url,
            kind: Kind::Sqlite(folder),
        }
    }

    /// A copy of the database as it is now, like one restored from a backup. On Postgres, it ends
    /// the connections to the database.
    ///
    /// # Panics
    ///
    /// If it cannot be copied.
    pub async fn copy(&self) -> Self {
        let copied = match &self.kind {
            Kind::Postgres { server, name, .. } => {
                // A connection that a pool closed may still be ending.
                let end = format!(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"
                );
                run_on::<PgConnection>(server.clone(), end)
                    .await
                    .expect("the connections are ended");
                Self::create_on(server.clone(), &format!("TEMPLATE {name}")).await
            }
            Kind::Sqlite(_) => {
                let copy = Self::sqlite();
                let file = copy.url.trim_start_matches("sqlite://");
                let file = file.trim_end_matches("?mode=rwc");
                std::fs::remove_file(file).expect("the empty database is removed");
                let statement = format!("VACUUM INTO '{file}'");
                run_on::<SqliteConnection>(self.url.clone(), statement)
                    .await
                    .map(|()| copy)
            }
        };
        copied.expect("the test's database is copied")
    }

    /// The database's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Creates a role with `options` such as `LOGIN`, and returns its name: `word` and the name of
    /// the database, with which it is dropped.
    ///
    /// # Panics
    ///
    /// On SQLite, which has no roles.
    pub async fn role(&mut self, word: &str, options: &str) -> String {
        let Kind::Postgres {
            server,
            name,
            roles,
        } = &mut self.kind
        else {
            panic!("SQLite has no roles");
        };
        let role = format!("{word}_{name}");
        run_on::<PgConnection>(server.clone(), format!("CREATE ROLE {role} {options}"))
            .await
            .expect("the test's role is created");
        roles.push(role.clone());
        role
    }

    /// The database's URL with `role` as the user.
    pub fn url_as(&self, role: &str) -> String {
        let mut url: url::Url = self.url.parse().expect("a URL");
        url.set_username(role).expect("a role's name");
        url.into()
    }
}

async fn run_on<C>(url: String, statement: String) -> sqlx::Result<()>
where
    C: Connection,
    for<'c> &'c mut C: sqlx::Executor<'c, Database = C::Database>,
{
    let mut connection = C::connect(&url).await?;
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await?;
    connection.close().await
}

/// Runs `work` to completion on its own runtime, as the test's may be shutting down and must not be
/// blocked.
fn on_a_thread(
    work: impl Future<Output = sqlx::Result<()>> + Send + 'static,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(work)?)
    })
    .join()
    .unwrap_or_else(|_| Err("it panicked".into()))
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Kind::Postgres {
            server,
            name,
            roles,
        } = &self.kind
        else {
            return;
        };
        let mut statements = vec![format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")];
        // Later roles may be members of earlier ones.
        statements.extend(roles.iter().rev().map(|role| format!("DROP ROLE {role}")));
        let server = server.clone();
        let dropped = on_a_thread(async move {
            for statement in statements {
                run_on::<PgConnection>(server.clone(), statement).await?;
            }
            Ok(())
        });
        if let Err(error) = dropped {
            eprintln!(
                "the test's database {name} could not be dropped, and exists until the private server stops: {error}"
            );
        }
    }
}
