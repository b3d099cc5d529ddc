//! One database a test, made and dropped by the test.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

/// Names the server that `./test` started.
pub const SERVER: &str = "PLATFORM_TEST_POSTGRES";

/// A database of the test's own; dropped with it.
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
    },
    /// Keeps the folder until the test ends.
    Sqlite(#[expect(dead_code)] TempDir),
}

impl TestDatabase {
    /// A new database on the server that `./test` started.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub async fn postgres() -> Self {
        let server = std::env::var(SERVER).unwrap_or_else(|_| {
            panic!(
                "{SERVER} is not set: run the tests with ./test, which starts a private Postgres"
            )
        });
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        run_on(&server, &format!("CREATE DATABASE {name}"))
            .await
            .expect("the test's database is made");
        let mut url: url::Url = server.parse().expect("the server's address is a URL");
        url.set_path(&name);
        Self {
            url: url.into(),
            kind: Kind::Postgres { server, name },
        }
    }

    /// A new file in a folder of its own.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder is made");
        let url = format!(
            "sqlite://{}?mode=rwc",
            folder.path().join("test.db").display()
        );
        Self {
            url,
            kind: Kind::Sqlite(folder),
        }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }
}

async fn run_on(server: &str, statement: &str) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(server).await?;
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&mut connection)
        .await?;
    connection.close().await
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Kind::Postgres { server, name } = &self.kind else {
            return;
        };
        let (server, statement) = (
            server.clone(),
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        );
        // The test's own runtime may be ending, and must not be blocked.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime
                .block_on(run_on(&server, &statement))
                .map_err(std::io::Error::other)
        });
        if !matches!(dropped.join(), Ok(Ok(()))) {
            eprintln!(
                "the test's database {name} could not be dropped; it goes with the private server"
            );
        }
    }
}
