//! A private Postgres in a temporary folder, for a command (`with-server`) or for a test that kills
//! it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The variable with the folder of `initdb` and `pg_ctl`; `./test` sets it.
pub const BIN: &str = "PLATFORM_TEST_PG_BIN";

/// The server's output since it was last started.
const LOG: &str = "server.log";

/// In bytes. macOS limits the path of a Unix socket to 103, and Postgres appends `/.s.PGSQL.12345`.
const LONGEST_FOLDER: usize = 80;

/// A running server. Dropping it stops the server and deletes its files.
#[derive(Debug)]
pub struct Server {
    bin: PathBuf,
    user: Option<User>,
    folder: TempDir,
    port: u16,
}

/// The user who runs the server if the caller is root, as Postgres refuses to run as root.
#[derive(Clone, Debug)]
struct User {
    name: &'static str,
    id: u32,
    group: u32,
}

impl Server {
    /// Creates the server's files and starts it on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Returns a message if `PLATFORM_TEST_PG_BIN` is not set or the server does not start.
    pub fn start() -> Result<Self, String> {
        let bin = std::env::var_os(BIN)
            .map(PathBuf::from)
            .ok_or(format!("{BIN} is not set: call this through ./test --exec"))?;
        Self::start_from(bin)
    }

    /// Like [`start`](Self::start), with the `initdb` and `pg_ctl` in the folder `bin`.
    ///
    /// # Errors
    ///
    /// Returns a message if the server does not start.
    pub fn start_from(bin: PathBuf) -> Result<Self, String> {
        let user = if rustix::process::geteuid().is_root() {
            Some(unprivileged_user()?)
        } else {
            None
        };
        let folder = folder(user.as_ref())?;
        let mut server = Self {
            bin,
            user,
            folder,
            port: 0,
        };
        // The locale makes sorting independent of the machine. `trust` is enough, because the
        // server contains only test data and listens on loopback only.
        server.run(
            "initdb",
            &[
                "-D",
                "data",
                "-U",
                "postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
        )?;
        server
            .configure()
            .map_err(|error| format!("postgresql.conf could not be written: {error}"))?;
        // Another program may bind the port before Postgres does. Then another port is tried.
        for _ in 0..10 {
            server.port = free_port()?;
            match server.resume() {
                Err(_) if server.log().contains("could not bind") => {}
                ended => return ended.map(|()| server),
            }
        }
        Err("ten free ports were taken by other programs before Postgres bound them".to_owned())
    }

    /// The server's URL, as the superuser `postgres`.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Stops the server without a checkpoint, as a crash would.
    ///
    /// # Errors
    ///
    /// Returns a message if `pg_ctl` fails or takes longer than 30 s.
    pub fn crash(&self) -> Result<(), String> {
        self.run(
            "pg_ctl",
            &["-D", "data", "-m", "immediate", "-w", "-t", "30", "stop"],
        )
    }

    /// Starts the server again on the same port. It recovers from its write-ahead log.
    ///
    /// # Errors
    ///
    /// Returns a message if `pg_ctl` fails or takes longer than 60 s.
    pub fn resume(&self) -> Result<(), String> {
        std::fs::remove_file(self.folder.path().join(LOG)).ok();
        let options = format!("-p {}", self.port);
        self.run(
            "pg_ctl",
            &[
                "-D", "data", "-l", LOG, "-o", &options, "-w", "-t", "60", "start",
            ],
        )
    }

    /// Whether the server is running.
    pub fn is_running(&self) -> bool {
        self.run("pg_ctl", &["-D", "data", "status"]).is_ok()
    }

    /// The last 30 lines of the server's log.
    pub fn log(&self) -> String {
        end_of(&self.folder.path().join(LOG))
    }

    fn configure(&self) -> std::io::Result<()> {
        let data = self.folder.path().join("data/postgresql.conf");
        let mut file = OpenOptions::new().append(true).open(data)?;
        let sockets = self.folder.path().display().to_string().replace('\'', "''");
        // fsync and full_page_writes matter only if the machine crashes, after which the data is
        // not needed. Many tests connect concurrently, and some test two-phase commit.
        write!(
            file,
            "listen_addresses = '127.0.0.1'\n\
             unix_socket_directories = '{sockets}'\n\
             max_connections = 300\n\
             max_prepared_transactions = 10\n\
             fsync = off\n\
             full_page_writes = off\n"
        )
    }

    /// Runs a program of Postgres in the server's folder, as the server's user.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        // The server inherits the output and would keep a pipe open, so use a file.
        let output = self.folder.path().join("output");
        let opened = File::create(&output).and_then(|file| Ok((file.try_clone()?, file)));
        let (stdout, stderr) =
            opened.map_err(|error| format!("{}: {error}", self.folder.path().display()))?;
        let mut command = Command::new(self.bin.join(program));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr);
        drop_privileges(&mut command, self.user.as_ref());
        let status = command
            .status()
            .map_err(|error| format!("{} does not start: {error}", self.bin.display()))?;
        if status.success() {
            return Ok(());
        }
        let (output, log) = (end_of(&output), self.log());
        Err(format!(
            "{program} failed ({status}). Its output:\n{output}\nThe server's log:\n{log}"
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server may be down already.
        drop(self.crash());
    }
}

fn drop_privileges(command: &mut Command, user: Option<&User>) {
    if let Some(user) = user {
        command.uid(user.id).gid(user.group);
    }
}

fn unprivileged_user() -> Result<User, String> {
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| {
            let (id, group) = (id("-u", name)?, id("-g", name)?);
            Some(User { name, id, group })
        })
        .ok_or("Postgres refuses to run as root, and there is no user 'postgres' or 'nobody': create one, or call this as an ordinary user".to_owned())
}

/// The numeric id of a user (`-u`) or of its group (`-g`).
fn id(which: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([which, name]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// A temporary folder that the server's user may write to, with a short path.
fn folder(user: Option<&User>) -> Result<TempDir, String> {
    let parents = [std::env::temp_dir(), "/tmp".into()];
    let made = parents.iter().find_map(|parent| {
        // The user may not be able to follow symbolic links.
        let parent = parent.canonicalize().ok()?;
        let folder = tempfile::Builder::new()
            .prefix("platform-test.")
            .tempdir_in(parent)
            .ok()?;
        if let Some(user) = user {
            std::os::unix::fs::chown(folder.path(), Some(user.id), Some(user.group)).ok()?;
        }
        // Root's $TMPDIR may be inaccessible to the user.
        let mut test = Command::new("test");
        test.args(["-w", "."]).current_dir(folder.path());
        drop_privileges(&mut test, user);
        let usable = test.status().is_ok_and(|status| status.success());
        (usable && folder.path().as_os_str().len() <= LONGEST_FOLDER).then_some(folder)
    });
    made.ok_or_else(|| {
        let user = user.map_or("this user", |user| user.name);
        format!("no temporary folder that {user} may write to could be made in $TMPDIR or /tmp: is the disk full?")
    })
}

/// A port below the ephemeral range, so that no client connection takes it while the server is
/// down.
fn free_port() -> Result<u16, String> {
    std::iter::repeat_with(|| fastrand::u16(20_000..32_000))
        .take(100)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .ok_or("no port of 127.0.0.1 between 20000 and 32000 is free".to_owned())
}

fn end_of(file: &Path) -> String {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
