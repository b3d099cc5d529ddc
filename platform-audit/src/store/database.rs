use std::sync::Arc;

use futures_util::future::BoxFuture;
#[cfg(feature = "seal")]
use futures_util::stream::BoxStream;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Arguments, AssertSqlSafe, Pool, SqlStr};

use super::{Argument, Dialect};
use crate::error::Error;

/// An sqlx database that can hold audit records: `Postgres` (feature `postgres`), `Sqlite`
/// (feature `sqlite`), or `Any` of the two (feature `any`). Sealed.
pub trait AuditDatabase: sqlx::Database + sealed::Sealed {
    #[doc(hidden)]
    fn dialect(pool: &Pool<Self>) -> Result<DialectOf, Error>;

    /// Executes a prepared statement. `arguments` calls its parameter with each argument in order.
    #[doc(hidden)]
    fn run(
        connection: &mut Self::Connection,
        statement: Arc<str>,
        arguments: impl FnOnce(&mut dyn FnMut(Argument<'_>)),
    ) -> BoxFuture<'_, sqlx::Result<u64>>;

    #[doc(hidden)]
    fn fetch_text(
        connection: &mut Self::Connection,
        statement: Arc<str>,
        arguments: Vec<String>,
    ) -> BoxFuture<'_, sqlx::Result<Option<String>>>;

    /// The first column of each row.
    #[doc(hidden)]
    fn fetch_texts(
        connection: &mut Self::Connection,
        statement: Arc<str>,
        arguments: Vec<String>,
    ) -> BoxFuture<'_, sqlx::Result<Vec<String>>>;

    /// The first column of each row, as bytes.
    #[cfg(feature = "seal")]
    #[doc(hidden)]
    fn fetch_bytes(
        connection: &mut Self::Connection,
        statement: Arc<str>,
        arguments: Vec<String>,
    ) -> BoxStream<'_, sqlx::Result<Vec<u8>>>;

    /// Executes several statements, without arguments, in one message.
    #[doc(hidden)]
    fn run_raw(
        connection: &mut Self::Connection,
        statements: SqlStr,
    ) -> BoxFuture<'_, sqlx::Result<()>>;

    /// The first column of the only row that an unprepared statement returns.
    #[doc(hidden)]
    fn fetch_raw_text(
        connection: &mut Self::Connection,
        statement: SqlStr,
    ) -> BoxFuture<'_, sqlx::Result<String>>;

    #[doc(hidden)]
    fn migrate<'a>(
        connection: &'a mut Self::Connection,
        migrator: &'a Migrator,
    ) -> BoxFuture<'a, Result<(), MigrateError>>;
}

/// Hides the dialect from the public interface.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct DialectOf(pub(crate) Dialect);

pub(crate) mod sealed {
    pub trait Sealed {}
}

macro_rules! audit_database {
    ($feature:literal, $database:ty, |$pool:ident| $dialect:expr, $add:expr) => {
        #[cfg(feature = $feature)]
        impl sealed::Sealed for $database {}

        #[cfg(feature = $feature)]
        impl AuditDatabase for $database {
            fn dialect($pool: &Pool<Self>) -> Result<DialectOf, Error> {
                $dialect.map(DialectOf)
            }

            fn run(
                connection: &mut Self::Connection,
                statement: Arc<str>,
                arguments: impl FnOnce(&mut dyn FnMut(Argument<'_>)),
            ) -> BoxFuture<'_, sqlx::Result<u64>> {
                // Like `Query::bind`, without moving the query for each argument.
                let mut encoded = <Self as sqlx::Database>::Arguments::default();
                encoded.reserve(32, 1024);
                let mut failed = None;
                arguments(&mut |argument| {
                    if let Err(error) = $add(&mut encoded, argument) {
                        failed = Some(sqlx::Error::Encode(error));
                    }
                });
                Box::pin(async move {
                    if let Some(error) = failed {
                        return Err(error);
                    }
                    let query = sqlx::query_with::<Self, _>(AssertSqlSafe(statement), encoded);
                    Ok(query.execute(connection).await?.rows_affected())
                })
            }

            fn fetch_text(
                connection: &mut Self::Connection,
                statement: Arc<str>,
                arguments: Vec<String>,
            ) -> BoxFuture<'_, sqlx::Result<Option<String>>> {
                Box::pin(async move {
                    let query = arguments.into_iter().fold(
                        sqlx::query_scalar::<Self, String>(AssertSqlSafe(statement)),
                        |query, it| query.bind(it),
                    );
                    query.fetch_optional(connection).await
                })
            }

            fn fetch_texts(
                connection: &mut Self::Connection,
                statement: Arc<str>,
                arguments: Vec<String>,
            ) -> BoxFuture<'_, sqlx::Result<Vec<String>>> {
                Box::pin(async move {
                    let query = arguments.into_iter().fold(
                        sqlx::query_scalar::<Self, String>(AssertSqlSafe(statement)),
                        |query, it| query.bind(it),
                    );
                    // Not cached, so that Postgres plans for these arguments. A generic plan
                    // assumes few records of each resource, so for the most frequent one it would
                    // read and sort all of them to return the first page.
                    query.persistent(false).fetch_all(connection).await
                })
            }

            #[cfg(feature = "seal")]
            fn fetch_bytes(
                connection: &mut Self::Connection,
                statement: Arc<str>,
                arguments: Vec<String>,
            ) -> BoxStream<'_, sqlx::Result<Vec<u8>>> {
                let query = arguments.into_iter().fold(
                    sqlx::query_scalar::<Self, Vec<u8>>(AssertSqlSafe(statement)),
                    |query, it| query.bind(it),
                );
                query.persistent(false).fetch(connection)
            }

            fn run_raw(
                connection: &mut Self::Connection,
                statements: SqlStr,
            ) -> BoxFuture<'_, sqlx::Result<()>> {
                Box::pin(async move {
                    sqlx::raw_sql(statements)
                        .execute(connection)
                        .await
                        .map(drop)
                })
            }

            fn fetch_raw_text(
                connection: &mut Self::Connection,
                statement: SqlStr,
            ) -> BoxFuture<'_, sqlx::Result<String>> {
                Box::pin(async move {
                    let row = sqlx::raw_sql(statement).fetch_one(connection).await?;
                    sqlx::Row::try_get(&row, 0)
                })
            }

            fn migrate<'a>(
                connection: &'a mut Self::Connection,
                migrator: &'a Migrator,
            ) -> BoxFuture<'a, Result<(), MigrateError>> {
                Box::pin(migrator.run_direct(None, connection, false))
            }
        }
    };
}

audit_database!(
    "postgres",
    sqlx::Postgres,
    |_pool| Ok(Dialect::Postgres),
    Arguments::add
);
audit_database!(
    "sqlite",
    sqlx::Sqlite,
    |_pool| Ok(Dialect::Sqlite),
    |to: &mut sqlx::sqlite::SqliteArguments, argument: Argument<'_>| to
        .add(argument.text().as_deref())
);
audit_database!(
    "any",
    sqlx::Any,
    |pool| {
        match pool.connect_options().database_url.scheme() {
            "postgres" | "postgresql" => Ok(Dialect::Postgres),
            "sqlite" => Ok(Dialect::Sqlite),
            other => Err(Error::UnsupportedDatabase(other.to_owned())),
        }
    },
    |to: &mut sqlx::any::AnyArguments, argument: Argument<'_>| to.add(argument.text().as_deref())
);
