//! `platform-audit tail` beside writers, on Postgres.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what goes wrong here fails the test"
)]
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use platform_audit::Audit;
use platform_harness::database::TestDatabase;
use sqlx::{PgExecutor, PgPool};

/// Long enough for anything that should happen: a transaction that another test has open on the
/// same server holds up a tail.
const PATIENCE: Duration = Duration::from_secs(60);

/// The command while it follows.
struct Tail {
    process: Child,
    lines: Receiver<String>,
    told: Vec<String>,
}

impl Tail {
    /// Follows what `ada` does, and has told of something when this ends.
    async fn begin(database: &TestDatabase, pool: &PgPool, format: &str) -> Self {
        let command = env!("CARGO_BIN_EXE_platform-audit");
        Self::begin_by(Command::new(command), database, pool, format).await
    }

    async fn begin_by(
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
        let said = BufReader::new(process.stdout.take().unwrap());
        let (line, lines) = channel();
        std::thread::spawn(move || {
            // Ends, and closes the pipe, once nobody listens.
            for said in said.lines() {
                if line.send(said.unwrap()).is_err() {
                    break;
                }
            }
        });
        let mut tail = Self {
            process,
            lines,
            told: Vec::new(),
        };
        // What is committed before it begins is not followed.
        for n in 0.. {
            write(pool, &format!("first-{n}")).await;
            match tail.lines.recv_timeout(Duration::from_millis(200)) {
                Ok(line) => {
                    tail.told.push(line);
                    break;
                }
                Err(RecvTimeoutError::Timeout) => assert!(n < 600, "nothing is told"),
                Err(RecvTimeoutError::Disconnected) => panic!("{}", tail.ended().1),
            }
        }
        tail
    }

    /// Waits until a line holds `text`.
    fn wait_for(&mut self, text: &str) {
        while !self.told.iter().any(|line| line.contains(text)) {
            self.told.push(self.lines.recv_timeout(PATIENCE).unwrap());
        }
    }

    /// Its status, what it complained of, and all that it told.
    fn ended(mut self) -> (Option<i32>, String, Vec<String>) {
        self.told.extend(self.lines);
        let output = self.process.wait_with_output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), complaint, self.told)
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

/// How many records the log says that tails told.
async fn recorded(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT COALESCE(sum(records), 0)::bigint FROM ledger_audit.readings WHERE answer = 'tailed' AND actor_id = 'grace'")
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_is_committed_late_is_told_once_and_how_much_was_told_is_recorded() {
    let (database, pool) = log().await;
    let mut tail = Tail::begin(&database, &pool, "jsonl").await;
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
    let (status, complaint, told) = tail.ended();
    assert_eq!((status, complaint.as_str()), (Some(0), ""));
    let mut entries: Vec<String> = told
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
    assert_eq!(entries.len(), all, "each once: {told:?}");
    assert!(!entries.iter().any(|it| it == "never"), "{entries:?}");
}

/// Of an export that was interrupted, the log says how much was handed out.
#[tokio::test]
async fn an_export_that_is_interrupted_says_how_far_it_came() {
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
    let mut said = BufReader::new(process.stdout.take().unwrap());
    let mut first = String::new();
    said.read_line(&mut first).unwrap();
    // It waits for its pipe now, which holds less than all.
    let id = process.id().to_string();
    Command::new("kill").args(["-TERM", &id]).status().unwrap();
    let lines = std::thread::spawn(move || said.lines().count());
    let output = process.wait_with_output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{complaint}");
    assert!(complaint.contains("interrupted"), "{complaint}");
    assert!(lines.join().unwrap() < 2_999);
    let (records, complete): (i64, bool) = sqlx::query_as(
        "SELECT records, complete FROM ledger_audit.readings WHERE answer = 'exported'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert!((1..3_000).contains(&records) && !complete, "{records}");
}

#[tokio::test]
async fn a_table_has_one_heading_and_its_columns_stay_where_they_are() {
    let (database, pool) = log().await;
    let mut tail = Tail::begin(&database, &pool, "table").await;
    tail.wait_for("first-");
    for entry in ["8", "a-name-that-is-longer-than-the-others", "9"] {
        write(&pool, entry).await;
        tail.wait_for(&format!("entry {entry} "));
    }
    tail.signal("-TERM");
    let (status, complaint, told) = tail.ended();
    assert_eq!((status, complaint.as_str()), (Some(0), ""));
    let headings = told.iter().filter(|line| line.contains("outcome"));
    assert_eq!(headings.count(), 1, "{told:?}");
    let place = |entry: &str| {
        let mark = format!("entry {entry} ");
        let line = told.iter().find(|line| line.contains(&mark)).unwrap();
        line.find("success").unwrap()
    };
    let long = place("a-name-that-is-longer-than-the-others");
    assert!(place("8") < long, "{told:?}");
    assert_eq!(place("9"), long, "{told:?}");
}

#[tokio::test]
async fn what_was_told_is_recorded_though_its_reader_has_had_enough() {
    let (database, pool) = log().await;
    let Tail {
        mut process, lines, ..
    } = Tail::begin(&database, &pool, "jsonl").await;
    // The pipe is closed with the next line; what follows it finds no reader.
    drop(lines);
    let began = std::time::Instant::now();
    let status = loop {
        write(&pool, "more").await;
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        assert!(began.elapsed() < PATIENCE, "it goes on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(status.code(), Some(141));
    assert!(recorded(&pool).await > 0);
}

/// As under `nohup`, when the terminal is closed.
#[tokio::test]
async fn a_signal_that_is_to_be_ignored_ends_nothing() {
    let (database, pool) = log().await;
    let mut ignoring = Command::new("sh");
    ignoring
        .args(["-c", "trap '' HUP; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_platform-audit"));
    let mut tail = Tail::begin_by(ignoring, &database, &pool, "jsonl").await;
    tail.signal("-HUP");
    write(&pool, "afterwards").await;
    tail.wait_for("\"afterwards\"");
    tail.signal("-TERM");
    assert_eq!(tail.ended().0, Some(0));
    let mut tail = Tail::begin(&database, &pool, "jsonl").await;
    tail.signal("-HUP");
    tail.told.clear();
    assert_eq!(tail.ended().0, Some(0), "it is not ignored by default");
}
