//! Each test has its own database, which is dropped when the test ends.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use platform_harness::database::{SERVER, TestDatabase};
use sqlx::{Connection, PgConnection, SqliteConnection};

#[tokio::test]
async fn databases_do_not_see_each_other() {
    let databases = [
        TestDatabase::postgres().await,
        TestDatabase::postgres().await,
    ];
    for database in &databases {
        let mut connection = PgConnection::connect(database.url()).await.unwrap();
        sqlx::raw_sql("CREATE TABLE entry (id INT)")
            .execute(&mut connection)
            .await
            .expect("this database has no table yet");
    }
}

#[tokio::test]
async fn a_database_with_an_open_transaction_is_dropped() {
    let database = TestDatabase::postgres().await;
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    sqlx::raw_sql("BEGIN; CREATE TABLE entry (id INT)")
        .execute(&mut connection)
        .await
        .unwrap();
    let name = name(&database);
    assert!(exists(&name).await);
    drop(database);
    assert!(!exists(&name).await);
    assert!(connection.ping().await.is_err());
}

#[test]
fn a_database_is_dropped_when_its_test_panics() {
    let (send, receive) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        on_a_runtime(async {
            let database = TestDatabase::postgres().await;
            send.send(name(&database)).unwrap();
            assert!(database.url().is_empty(), "fails on purpose");
        });
    });
    assert!(test.join().is_err());
    let name = receive.recv().unwrap();
    assert!(!on_a_runtime(exists(&name)));
}

#[test]
fn a_database_is_dropped_after_its_runtime() {
    let database = on_a_runtime(TestDatabase::postgres());
    let name = name(&database);
    assert!(on_a_runtime(exists(&name)));
    drop(database);
    assert!(!on_a_runtime(exists(&name)));
}

#[test]
fn the_error_without_a_server_says_what_to_run() {
    let test = "database::databases_do_not_see_each_other";
    let ran = again(test, |command| command.env_remove(SERVER));
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(!ran.status.success(), "{said}");
    assert!(said.contains("run the tests with ./test"), "{said}");
}

#[tokio::test]
async fn an_sqlite_file_has_a_write_ahead_log_and_is_deleted_with_its_test() {
    let database = TestDatabase::sqlite();
    let mut connection = SqliteConnection::connect(database.url()).await.unwrap();
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(mode, "wal");
    let file: String = sqlx::query_scalar("SELECT file FROM pragma_database_list")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let file = PathBuf::from(file);
    assert!(file.starts_with(std::env::temp_dir()), "{file:?}");
    assert!(file.exists());
    drop(database);
    assert!(!file.parent().unwrap().exists());
}

#[test]
fn an_sqlite_file_may_be_in_a_folder_of_any_name() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("it's 100% mine? #1");
    std::fs::create_dir(&folder).unwrap();
    let test = "database::an_sqlite_file_has_a_write_ahead_log_and_is_deleted_with_its_test";
    let ran = again(test, |command| command.env("TMPDIR", &folder));
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

/// Runs one test of this file in a separate process with a changed environment.
fn again(test: &str, change: impl FnOnce(&mut Command) -> &mut Command) -> Output {
    let program: &Path = &std::env::current_exe().unwrap();
    change(Command::new(program).args(["--exact", test]))
        .output()
        .unwrap()
}

fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

fn name(database: &TestDatabase) -> String {
    let (_, name) = database.url().rsplit_once('/').unwrap();
    name.to_owned()
}

async fn exists(database: &str) -> bool {
    let server = std::env::var(SERVER).unwrap();
    let mut connection = PgConnection::connect(&server).await.unwrap();
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(database)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_copy_has_what_the_database_had() {
    let create = "CREATE TABLE entry AS SELECT 7 AS id";
    let insert = "INSERT INTO entry VALUES (8)";

    let database = TestDatabase::postgres().await;
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    sqlx::raw_sql(create)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let copy = database.copy().await;
    let mut connection = PgConnection::connect(copy.url()).await.unwrap();
    let inserted = sqlx::raw_sql(insert).execute(&mut connection).await;
    assert!(inserted.is_ok(), "{inserted:?}");

    let database = TestDatabase::sqlite();
    let mut connection = SqliteConnection::connect(database.url()).await.unwrap();
    sqlx::raw_sql(create)
        .execute(&mut connection)
        .await
        .unwrap();
    let copy = database.copy().await;
    let mut connection = SqliteConnection::connect(copy.url()).await.unwrap();
    let inserted = sqlx::raw_sql(insert).execute(&mut connection).await;
    assert!(inserted.is_ok(), "{inserted:?}");
}
