//! The Postgres server that a measurement runs against.

use std::process::{Command, ExitCode};

use platform_harness::database::SERVER;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{checkout, cpu};

/// The environment variable that is set if this program has started a private server.
const PRIVATE: &str = "PLATFORM_BENCH_PRIVATE_SERVER";

/// Runs this program again under `./test`, which starts a private server, and returns its exit
/// code. Returns `None` if the environment already names a server.
pub(crate) fn start() -> Option<ExitCode> {
    if std::env::var_os(SERVER).is_some() {
        return None;
    }
    let test = checkout::path("test");
    let done = Command::new(&test)
        .arg("--exec")
        .arg(std::env::current_exe().expect("this program has a path"))
        .args(std::env::args_os().skip(1))
        .env(PRIVATE, "1")
        .status()
        .unwrap_or_else(|error| panic!("{} does not start: {error}", test.display()));
    Some(ExitCode::from(
        done.code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1),
    ))
}

/// Restores the default durability of a private server, which `./test` disables. Returns a
/// description of the server.
pub(crate) async fn describe() -> String {
    let url = std::env::var(SERVER).expect("a server was started");
    let mut connection = PgConnection::connect(&url)
        .await
        .expect("the server accepts connections");
    if std::env::var_os(PRIVATE).is_some() {
        for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
            let set = AssertSqlSafe(format!("ALTER SYSTEM SET {setting} = on"));
            sqlx::raw_sql(set)
                .execute(&mut connection)
                .await
                .expect("the setting can be changed");
        }
        let reload = "SELECT pg_reload_conf()::text";
        let on = "SELECT current_setting('fsync')";
        sqlx::raw_sql(reload)
            .execute(&mut connection)
            .await
            .expect("the configuration is reloaded");
        while sqlx::query_scalar::<_, String>(on)
            .fetch_one(&mut connection)
            .await
            .expect("the setting exists")
            != "on"
        {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    let mut description = String::new();
    for setting in [
        "server_version",
        "fsync",
        "synchronous_commit",
        "shared_buffers",
    ] {
        let value: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(setting)
            .fetch_one(&mut connection)
            .await
            .expect("the setting exists");
        description += &format!(
            "{}{setting} {value}",
            if description.is_empty() {
                "Postgres: "
            } else {
                ", "
            }
        );
    }
    description
}

/// The process id of the postmaster; `None` if the server is on another machine, or there is no
/// `/proc`.
pub(crate) async fn postmaster() -> Option<u32> {
    let url = std::env::var(SERVER).expect("a server was started");
    let mut connection = PgConnection::connect(&url)
        .await
        .expect("the server accepts connections");
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut connection)
        .await
        .expect("a backend has a process id");
    let parent = cpu::parent(pid.try_into().ok()?)?;
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).ok()?;
    name.starts_with("postgres").then_some(parent)
}
