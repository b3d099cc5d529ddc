//! The command `serve`, over SQLite.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use platform_audit::query::{AuditQuery, AuditReader};
use platform_audit::{Actor, Audit};
use platform_harness::browser::Browser;
use platform_harness::database::TestDatabase;
use sqlx::{Sqlite, SqlitePool};
use thirtyfour::By;

/// A log with one record.
async fn log() -> (TestDatabase, AuditReader<Sqlite>) {
    let database = TestDatabase::sqlite();
    let pool = SqlitePool::connect(database.url()).await.unwrap();
    let audit = Audit::builder(pool.clone(), "ledger").development(true);
    let audit = audit.start().await.unwrap();
    let written = audit.transaction(Actor::user("ada"), "entry.create", async |tx| {
        tx.record("entry", 7);
        Ok::<_, std::io::Error>(())
    });
    written.await.unwrap();
    audit.shutdown().await;
    (database, AuditReader::new(pool, "ledger").unwrap())
}

fn command(database: &TestDatabase, name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_platform-audit"));
    command.args(["serve", "--service", "ledger", "--database-url"]);
    command.arg(database.url());
    command.args(["--as", name, "--because", "ticket 4711"]);
    command
}

/// The running command.
struct Page {
    process: Child,
    host: String,
    password: String,
    password_file: PathBuf,
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Page {
    fn open(database: &TestDatabase) -> Self {
        let mut process = command(database, "grace")
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = stdout.next().unwrap().unwrap();
        let host = address.strip_prefix("http://").unwrap();
        let host = host.strip_suffix('/').unwrap().to_owned();
        let hint = stdout.next().unwrap().unwrap();
        let (_, file) = hint
            .split_once("Sign in as grace with the password in ")
            .unwrap();
        let password_file = PathBuf::from(file.split_once(". Press Ctrl-C").unwrap().0);
        let password = std::fs::read_to_string(&password_file).unwrap();
        let password = password.trim().to_owned();
        assert!(!hint.contains(&password) && !address.contains(&password));
        Self {
            process,
            host,
            password,
            password_file,
            _stdout: stdout,
        }
    }

    /// The response, head and body, to a request with these credentials.
    fn get(&self, path: &str, credentials: Option<&str>) -> String {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let credentials = credentials.map(|it| format!("authorization: Basic {it}\r\n"));
        let credentials = credentials.unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{credentials}\r\n",
            self.host
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        // The command is killed, so it cannot delete the file itself.
        std::fs::remove_file(&self.password_file).ok();
    }
}

#[tokio::test]
async fn wrong_credentials_are_refused_and_a_browser_can_sign_in() {
    let (database, reader) = log().await;
    let page = Page::open(&database);
    // "grace:wrong", "mallory:" and invalid base64.
    for credentials in [
        None,
        Some("Z3JhY2U6d3Jvbmc="),
        Some("bWFsbG9yeTo="),
        Some("?"),
    ] {
        let response = page.get("/", credentials);
        assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
        let challenge = "www-authenticate: Basic realm=\"audit log\"";
        assert!(response.contains(challenge), "{response}");
        assert!(!response.contains("ada"), "{response}");
    }
    let browser = Browser::start(false).await;
    let address = format!("http://grace:{}@{}/", page.password, page.host);
    browser.tab.goto(address).await.unwrap();
    let row = browser.tab.find(By::Css("tbody tr")).await.unwrap();
    let text = row.text().await.unwrap();
    assert!(
        text.contains("ada") && text.contains("entry.create"),
        "{text}"
    );
    browser.close().await;

    let readings = AuditQuery::new().action("audit.read").actor("grace");
    let test = reader.read_as(Actor::system("test"));
    let readings = test.page(&readings, None).await.unwrap().records;
    assert!(!readings.is_empty());
    for reading in readings {
        assert_eq!(reading.reason.as_deref(), Some("ticket 4711"));
        assert_eq!(reading.client_address.as_deref(), Some("127.0.0.1"));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_password_file_is_private_and_deleted_on_shutdown_signals() {
    use std::os::unix::fs::PermissionsExt;

    let (database, _reader) = log().await;
    // Sent immediately after the start: Ctrl-C, a stop by an operator, a closed terminal.
    for signal in ["-INT", "-TERM", "-HUP"] {
        let mut page = Page::open(&database);
        let mode = std::fs::metadata(&page.password_file).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        let id = page.process.id().to_string();
        Command::new("kill").args([signal, &id]).status().unwrap();
        let status = page.process.wait().unwrap();
        assert!(status.success(), "{signal}: {status}");
        assert!(!page.password_file.exists(), "{signal}");
    }
}

/// Runs a command that must refuse to serve within a minute.
#[cfg(unix)]
fn refused(command: &mut Command) -> Output {
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = piped.spawn().unwrap();
    for _ in 0..600 {
        if process.try_wait().unwrap().is_some() {
            return process.wait_with_output().unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    process.kill().unwrap();
    panic!("the command did not exit");
}

#[cfg(unix)]
#[tokio::test]
async fn insecure_listen_addresses_and_password_files_are_refused() {
    use std::os::unix::fs::PermissionsExt;

    let (database, _reader) = log().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let stderr_of = |arguments: &[&str]| {
        let output = refused(command(&database, "grace").args(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let err = stderr_of(&["--listen", "0.0.0.0:0"]);
    assert!(err.contains("--behind-tls"), "{err}");

    let from_file = ["--password-file", file.to_str().unwrap()];
    assert!(stderr_of(&from_file).contains("cannot be read"));
    std::fs::write(&file, "correct horse battery staple\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    let err = stderr_of(&from_file);
    assert!(err.contains("chmod 600") && !err.contains("horse"), "{err}");
    std::fs::write(&file, "short\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let err = stderr_of(&from_file);
    assert!(
        err.contains("12 characters") && !err.contains("short"),
        "{err}"
    );

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    assert!(stderr_of(&["--listen", &taken]).contains("--listen 127.0.0.1:0"));
    // A missing schema is reported at the start, not on the first page view.
    let err = stderr_of(&["--schema", "nowhere"]);
    assert!(
        err.contains("cannot be read") && err.contains("nowhere"),
        "{err}"
    );
    let output = refused(&mut command(&database, "a:b"));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("colon"));
}
