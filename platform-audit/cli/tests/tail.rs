//! `platform-audit tail` while records are written, on Postgres.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use platform_audit::Audit;
use platform_harness::database::TestDatabase;
use sqlx::{PgExecutor, PgPool};

/// Generous: a transaction of another test on the same server holds back the tail.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The running command.
struct Tail {
    process: Child,
    lines: Receiver<String>,
    delivered: Vec<String>,
}

impl Tail {
    /// Starts to follow the records of `ada`, and returns after the first one is delivered.
    async fn start(database: &TestDatabase, pool: &PgPool, format: &str) -> Self {
        let command = env!("CARGO_BIN_EXE_platform-audit");
        Self::start_with(Command::new(command), database, pool, format).await
    }

    async fn start_with(
        mut command: Command,
        database: &TestDatabase,
        pool: &PgPool,
        format: &str,
    ) -> Self {
        let mut process = command
            .args(["tail", "--service", "ledger", "--as", "grace"])
            .args(["--actor", "ada", "--every", "0.1", "--format", format])
            .args(["--database-url", database.url()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (line, lines) = channel();
        std::thread::spawn(move || {
            // Ends, and closes the pipe, when the receiver is dropped.
            for text in stdout.lines() {
                if line.send(text.unwrap()).is_err() {
                    break;
                }
            }
        });
        let mut tail = Self {
            process,
            lines,
            delivered: Vec::new(),
        };
        // Records committed before its start are not delivered.
        for n in 0.. {
            write(pool, &format!("first-{n}")).await;
            match tail.lines.recv_timeout(Duration::from_millis(200)) {
                Ok(line) => {
                    tail.delivered.push(line);
                    break;
                }
                Err(RecvTimeoutError::Timeout) => assert!(n < 600, "nothing is delivered"),
                Err(RecvTimeoutError::Disconnected) => panic!("{}", tail.wait().1),
            }
        }
        tail
    }

    /// Waits until a line contains `text`.
    fn wait_for(&mut self, text: &str) {
        while !self.delivered.iter().any(|line| line.contains(text)) {
            self.delivered
                .push(self.lines.recv_timeout(TIMEOUT).unwrap());
        }
    }

    /// Returns its exit status, standard error and all delivered lines.
    fn wait(mut self) -> (Option<i32>, String, Vec<String>) {
        self.delivered.extend(self.lines);
        let output = self.process.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), stderr, self.delivered)
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success());
    }
}

async fn write(into: impl PgExecutor<'_>, entry: &str) {
    sqlx::query("SELECT ledger_audit.write_record(actor => 'ada', action => 'entry.write', reason => 'a test', resource_type => 'entry', resource_id => $1)")
        .bind(entry)
        .execute(into)
        .await
        .unwrap();
}

async fn log() -> (TestDatabase, PgPool) {
    let database = TestDatabase::postgres().await;
    let pool = PgPool::connect(database.url()).await.unwrap();
    let audit = Audit::builder(pool.clone(), "ledger");
    audit.migrate().await.unwrap();
    (database, pool)
}

/// The number of records that tails have recorded as delivered.
async fn recorded(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT COALESCE(sum(records), 0)::bigint FROM ledger_audit.readings WHERE kind = 'tailed' AND actor_id = 'grace'")
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_late_commit_is_delivered_once_and_the_number_of_delivered_records_is_recorded() {
    let (database, pool) = log().await;
    let mut tail = Tail::start(&database, &pool, "jsonl").await;
    let mut late = pool.begin().await.unwrap();
    write(&mut *late, "late-1").await;
    let mut never = pool.begin().await.unwrap();
    write(&mut *never, "never").await;
    write(&pool, "early").await;
    never.rollback().await.unwrap();
    write(&mut *late, "late-2").await;
    late.commit().await.unwrap();
    write(&pool, "last").await;
    for entry in ["late-1", "early", "late-2", "last"] {
        tail.wait_for(&format!("\"{entry}\""));
    }
    tail.signal("-INT");
    let (status, stderr, delivered) = tail.wait();
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let mut entries: Vec<String> = delivered
        .iter()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            record["resource_id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(recorded(&pool).await, i64::try_from(entries.len()).unwrap());
    entries.sort();
    let all = entries.len();
    entries.dedup();
    assert_eq!(entries.len(), all, "each once: {delivered:?}");
    assert!(!entries.iter().any(|it| it == "never"), "{entries:?}");
}

/// The number of exported records is recorded even after an interruption.
#[tokio::test]
async fn an_interrupted_export_is_recorded_with_the_number_of_records_handed_out() {
    let (database, pool) = log().await;
    for n in 0..3_000 {
        write(&pool, &n.to_string()).await;
    }
    let mut process = Command::new(env!("CARGO_BIN_EXE_platform-audit"))
        .args(["export", "--service", "ledger", "--as", "grace"])
        .args(["--actor", "ada", "--out", "-", "--database-url"])
        .arg(database.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    // It is now blocked on its pipe, whose buffer is smaller than the export.
    let id = process.id().to_string();
    Command::new("kill").args(["-TERM", &id]).status().unwrap();
    let lines = std::thread::spawn(move || stdout.lines().count());
    let output = process.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("interrupted"), "{stderr}");
    assert!(lines.join().unwrap() < 2_999);
    let (records, complete): (i64, bool) = sqlx::query_as(
        "SELECT records, complete FROM ledger_audit.readings WHERE kind = 'exported'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert!((1..3_000).contains(&records) && !complete, "{records}");
}

#[tokio::test]
async fn a_table_has_one_heading_and_its_columns_stay_aligned() {
    let (database, pool) = log().await;
    let mut tail = Tail::start(&database, &pool, "table").await;
    tail.wait_for("first-");
    for entry in ["8", "a-name-that-is-longer-than-the-others", "9"] {
        write(&pool, entry).await;
        tail.wait_for(&format!("entry {entry} "));
    }
    tail.signal("-TERM");
    let (status, stderr, delivered) = tail.wait();
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let headings = delivered.iter().filter(|line| line.contains("outcome"));
    assert_eq!(headings.count(), 1, "{delivered:?}");
    let column = |entry: &str| {
        let mark = format!("entry {entry} ");
        let line = delivered.iter().find(|line| line.contains(&mark)).unwrap();
        line.find("success").unwrap()
    };
    let long = column("a-name-that-is-longer-than-the-others");
    assert!(column("8") < long, "{delivered:?}");
    assert_eq!(column("9"), long, "{delivered:?}");
}

#[tokio::test]
async fn delivered_records_are_recorded_after_the_output_pipe_was_closed() {
    let (database, pool) = log().await;
    let Tail {
        mut process, lines, ..
    } = Tail::start(&database, &pool, "jsonl").await;
    // The next line closes the pipe; further writes fail.
    drop(lines);
    let started = std::time::Instant::now();
    let status = loop {
        write(&pool, "more").await;
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        assert!(started.elapsed() < TIMEOUT, "it did not stop");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(status.code(), Some(141));
    assert!(recorded(&pool).await > 0);
}

/// As under `nohup` when the terminal is closed.
#[tokio::test]
async fn an_ignored_signal_does_not_stop_the_command() {
    let (database, pool) = log().await;
    let mut ignoring = Command::new("sh");
    ignoring
        .args(["-c", "trap '' HUP; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_platform-audit"));
    let mut tail = Tail::start_with(ignoring, &database, &pool, "jsonl").await;
    tail.signal("-HUP");
    write(&pool, "afterwards").await;
    tail.wait_for("\"afterwards\"");
    tail.signal("-TERM");
    assert_eq!(tail.wait().0, Some(0));
    let mut tail = Tail::start(&database, &pool, "jsonl").await;
    tail.signal("-HUP");
    tail.delivered.clear();
    assert_eq!(tail.wait().0, Some(0), "it is not ignored by default");
}
