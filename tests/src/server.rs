//! A private Postgres that a test may kill.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The folder of `initdb` and `pg_ctl`; `./test` says where.
pub const BIN: &str = "PLATFORM_TEST_PG_BIN";
/// The user that the server runs as, where root asks for it; `./test` says which.
pub const USER: &str = "PLATFORM_TEST_PG_USER";

/// A server of its own, with its files in a temporary folder; gone when dropped.
#[derive(Debug)]
pub struct Server {
    bin: PathBuf,
    /// Postgres refuses to run as root.
    user: Option<(u32, u32)>,
    folder: TempDir,
    port: u16,
}

impl Server {
    /// Makes its files and starts it.
    ///
    /// # Errors
    ///
    /// In words, when there is no Postgres or it does not start.
    pub fn start() -> Result<Self, String> {
        let bin = std::env::var_os(BIN)
            .map(PathBuf::from)
            .or_else(newest_of_debian)
            .ok_or(format!("no Postgres was found: set {BIN} to the folder of initdb and pg_ctl, or call this by ./test --exec"))?;
        let user = match id("-u", None)? {
            0 => {
                let name = std::env::var(USER).unwrap_or_default();
                let name = if name.is_empty() { "postgres" } else { &name };
                Some((id("-u", Some(name))?, id("-g", Some(name))?))
            }
            _ => None,
        };
        let folder = tempfile::Builder::new()
            .prefix("fault-rig.")
            .tempdir()
            .map_err(|error| format!("no temporary folder could be made: {error}"))?;
        if let Some((user, group)) = user {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).map_err(|error| {
                format!("the folder could not be given to the server's user: {error}")
            })?;
        }
        // Below the ports that systems hand out to clients, one of which could take it while the
        // server is down.
        let port = std::iter::repeat_with(|| fastrand::u16(20_000..32_000))
            .take(100)
            .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
            .ok_or("no port of 127.0.0.1 between 20000 and 32000 is free")?;
        let server = Self {
            bin,
            user,
            folder,
            port,
        };
        server.call(
            "initdb",
            &[
                "-D",
                "data",
                "-U",
                "postgres",
                "--auth=trust",
                "--locale=C",
                "--encoding=UTF8",
                "--no-sync",
            ],
        )?;
        server.resume()?;
        Ok(server)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Stops it as a crash would: nothing is finished, nothing is written any more.
    ///
    /// # Errors
    ///
    /// In words.
    pub fn crash(&self) -> Result<(), String> {
        self.call("pg_ctl", &["-D", "data", "-m", "immediate", "-w", "stop"])
    }

    /// Starts it again; it recovers from its log.
    ///
    /// # Errors
    ///
    /// In words.
    pub fn resume(&self) -> Result<(), String> {
        // The kernel outlives the server, so nothing needs to reach the disk.
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=120 -c fsync=off",
            self.port
        );
        self.call(
            "pg_ctl",
            &[
                "-D", "data", "-l", "log", "-o", &options, "-w", "-t", "60", "start",
            ],
        )
    }

    fn call(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let mut command = Command::new(self.bin.join(program));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        // A server that was started keeps what it inherits.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        let status = command.status().map_err(|error| {
            format!("{program} in {} cannot be run: {error}", self.bin.display())
        })?;
        if status.success() {
            return Ok(());
        }
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let end: Vec<_> = log.lines().rev().take(5).collect();
        Err(format!(
            "{program} failed ({status}); the end of the server's log, last line first: {end:?}"
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be down already.
        drop(self.crash());
    }
}

fn newest_of_debian() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.flatten().map(|it| it.path()).max_by_key(number)?;
    Some(newest.join("bin"))
}

/// The number of a user or group.
fn id(which: &str, name: Option<&str>) -> Result<u32, String> {
    let mut command = Command::new("id");
    command.arg(which).args(name);
    let Output { stdout, .. } = command.output().map_err(|error| format!("id: {error}"))?;
    String::from_utf8_lossy(&stdout)
        .trim()
        .parse()
        .map_err(|_| {
            format!(
                "there is no user {} for Postgres, which refuses to run as root: set {USER}",
                name.unwrap_or_default()
            )
        })
}
