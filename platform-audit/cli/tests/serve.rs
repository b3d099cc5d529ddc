//! The page that `platform-audit serve` shows, over SQLite.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what goes wrong here fails the test"
)]

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

/// A log with one record in it.
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

/// The command while it serves.
struct Page {
    process: Child,
    host: String,
    password: String,
    password_file: PathBuf,
    _said: Lines<BufReader<ChildStdout>>,
}

impl Page {
    fn open(database: &TestDatabase) -> Self {
        let mut process = command(database, "grace")
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = said.next().unwrap().unwrap();
        let host = address.strip_prefix("http://").unwrap();
        let host = host.strip_suffix('/').unwrap().to_owned();
        let hint = said.next().unwrap().unwrap();
        let (_, file) = hint
            .split_once("Sign in as grace with the password in ")
            .unwrap();
        let password_file = PathBuf::from(file.split_once(". Ctrl-C").unwrap().0);
        let password = std::fs::read_to_string(&password_file).unwrap();
        let password = password.trim().to_owned();
        assert!(!hint.contains(&password) && !address.contains(&password));
        Self {
            process,
            host,
            password,
            password_file,
            _said: said,
        }
    }

    /// The answer's head and body, to a request with these credentials.
    fn get(&self, path: &str, credentials: Option<&str>) -> String {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let credentials = credentials.map(|it| format!("authorization: Basic {it}\r\n"));
        let credentials = credentials.unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{credentials}\r\n",
            self.host
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        // Which it would have removed itself, had it not been killed.
        std::fs::remove_file(&self.password_file).ok();
    }
}

#[tokio::test]
async fn a_stranger_sees_nothing_and_a_browser_signs_in() {
    let (database, reader) = log().await;
    let page = Page::open(&database);
    // "grace:wrong", "mallory:" and no base64 at all.
    for credentials in [
        None,
        Some("Z3JhY2U6d3Jvbmc="),
        Some("bWFsbG9yeTo="),
        Some("?"),
    ] {
        let answer = page.get("/", credentials);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        let challenge = "www-authenticate: Basic realm=\"audit log\"";
        assert!(answer.contains(challenge), "{answer}");
        assert!(!answer.contains("ada"), "{answer}");
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
    let test = reader.asked_by(Actor::system("test"));
    let readings = test.page(&readings, None).await.unwrap().records;
    assert!(!readings.is_empty());
    for reading in readings {
        assert_eq!(reading.reason.as_deref(), Some("ticket 4711"));
        assert_eq!(reading.client_address.as_deref(), Some("127.0.0.1"));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_password_is_private_and_gone_afterwards() {
    use std::os::unix::fs::PermissionsExt;

    let (database, _reader) = log().await;
    // Each at once, when nothing is waited for yet: Ctrl-C, what an operator sends, a terminal
    // closed.
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

/// What the command says that does not serve, for which it has a minute.
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
    panic!("it serves");
}

#[cfg(unix)]
#[tokio::test]
async fn what_would_show_the_records_to_others_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let (database, _reader) = log().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let said = |arguments: &[&str]| {
        let output = refused(command(&database, "grace").args(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let err = said(&["--listen", "0.0.0.0:0"]);
    assert!(err.contains("--behind-tls"), "{err}");

    let from_file = ["--password-file", file.to_str().unwrap()];
    assert!(said(&from_file).contains("cannot be read"));
    std::fs::write(&file, "correct horse battery staple\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    let err = said(&from_file);
    assert!(err.contains("chmod 600") && !err.contains("horse"), "{err}");
    std::fs::write(&file, "short\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let err = said(&from_file);
    assert!(
        err.contains("12 characters") && !err.contains("short"),
        "{err}"
    );

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    assert!(said(&["--listen", &taken]).contains("--listen 127.0.0.1:0"));
    // A page of nothing would be found out by whoever looks first.
    let err = said(&["--schema", "nowhere"]);
    assert!(
        err.contains("cannot be read") && err.contains("nowhere"),
        "{err}"
    );
    let output = refused(&mut command(&database, "a:b"));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("colon"));
}
