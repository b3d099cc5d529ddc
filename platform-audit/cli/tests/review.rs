//! Reviews, on both stores and through the command.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

use std::process::{Command, Output};

use jiff::{SignedDuration, Timestamp};
use platform_audit::query::AuditReader;
use platform_audit::review::{Review, Verdict};
use platform_audit::{Actor, Audit, AuditDatabase};
use platform_harness::database::TestDatabase;
use sqlx::{Pool, Postgres, Sqlite};

/// Five reads by ada, two by grace, two failed attempts by a robot, one backup.
async fn log<DB: AuditDatabase>(database: &TestDatabase) -> AuditReader<DB> {
    let pool = Pool::<DB>::connect(database.url()).await.unwrap();
    let audit = Audit::builder(pool.clone(), "ledger").development(true);
    let audit = audit.start().await.unwrap();
    let done = async |actor: Actor, action: &'static str, is_done: bool| {
        let work = audit.transaction(actor, action, async |tx| {
            tx.record("patient", 7);
            if is_done {
                Ok(())
            } else {
                Err(std::io::Error::other("no"))
            }
        });
        assert_eq!(work.await.is_ok(), is_done);
    };
    for _ in 0..5 {
        done(Actor::user("ada"), "patient.read", true).await;
    }
    for _ in 0..2 {
        done(Actor::user("grace"), "patient.read", true).await;
        done(Actor::service("robot"), "entry.sync", false).await;
    }
    done(Actor::system("cron"), "backup.run", true).await;
    audit.shutdown().await;
    AuditReader::new(pool, "ledger").unwrap()
}

async fn verdict<DB: AuditDatabase>(reader: &AuditReader<DB>, review: &str) -> Verdict {
    let reviews = Review::parse_all(&format!("[it]\n{review}")).unwrap();
    let reading = reader.read_as(Actor::system("nightly"));
    reviews[0].run(&reading).await.unwrap()
}

async fn counts_out_of_bounds_are_breaches_with_their_records<DB: AuditDatabase>(
    database: TestDatabase,
) {
    let reader = log::<DB>(&database).await;
    for (review, found, shown, breaches) in [
        ("outcome = \"failed\"\nat_most = 0", 2, 2, "2 of 0..0"),
        (
            "outcome = \"failed\"\nactor_kind = \"service\"\nat_most = 1",
            2,
            2,
            "2 of 0..1",
        ),
        (
            "outcome = [\"failed\", \"denied\"]\nactor_kind = \"user\"\nat_most = 0",
            0,
            0,
            "",
        ),
        ("outcome = \"failed\"\nat_most = 2", 2, 0, ""),
        (
            "action = \"backup.*\"\nsince = \"1h\"\nat_least = 1",
            1,
            0,
            "",
        ),
        (
            "action = \"backup.*\"\nuntil = \"1h\"\nat_least = 1",
            0,
            0,
            "0 of 1..",
        ),
        ("action = \"backup.*\"\nat_least = 1\nat_most = 1", 1, 0, ""),
        (
            "action = \"patient.read\"\nper = \"actor\"\nat_most = 4",
            7,
            5,
            "ada 5 of 0..4",
        ),
        (
            "action = \"patient.read\"\nper = \"actor\"\nat_most = 5",
            7,
            0,
            "",
        ),
        (
            "action = \"patient.read, backup.run\"\nat_least = 8",
            8,
            0,
            "",
        ),
        (
            "action = [\"patient.*\", \"backup.run\"]\nactor = [\"ada\", \"cron\"]\nper = \"actor\"\nat_most = 0",
            6,
            6,
            "ada 5 of 0..0, cron 1 of 0..0",
        ),
        (
            "resource_id = \"7\"\nper = \"outcome\"\nat_most = 7",
            10,
            8,
            "success 8 of 0..7",
        ),
        (
            "resource_id = \"7\"\nper = \"resource_type\"\nat_most = 9",
            10,
            10,
            "patient 10 of 0..9",
        ),
    ] {
        let verdict = verdict(&reader, review).await;
        let expected: Vec<String> = verdict
            .breaches
            .iter()
            .map(|it| {
                let value = it
                    .value
                    .as_ref()
                    .map(|it| format!("{it} "))
                    .unwrap_or_default();
                let most = it.at_most.map(|it| it.to_string()).unwrap_or_default();
                format!("{value}{} of {}..{most}", it.found, it.at_least)
            })
            .collect();
        assert_eq!(expected.join(", "), breaches, "{review}");
        assert_eq!(
            (verdict.found, verdict.records.len()),
            (found, shown),
            "{review}"
        );
        assert_eq!(verdict.passed, breaches.is_empty(), "{review}");
    }
}

async fn only_records_outside_office_hours_are_counted<DB: AuditDatabase>(database: TestDatabase) {
    let reader = log::<DB>(&database).await;
    let at = |hours: i64| {
        let time = Timestamp::now() + SignedDuration::from_hours(hours);
        time.strftime("%H:%M").to_string()
    };
    let days = "[\"monday\", \"tuesday\", \"wednesday\", \"thursday\", \"friday\", \"saturday\", \"sunday\"]";
    for (from, until, outside) in [(at(-2), at(2), 0), (at(2), at(4), 7), (at(-4), at(-2), 7)] {
        let review = format!(
            "action = \"patient.read\"\nat_most = 0\noutside = {{ from = \"{from}\", until = \"{until}\", days = {days} }}"
        );
        let verdict = verdict(&reader, &review).await;
        assert_eq!(
            (verdict.found, verdict.records.len()),
            (outside, outside as usize)
        );
        assert_eq!(verdict.passed, outside == 0);
    }
}

/// 150 records by ada, 60 by bob, and 50 by grace, which is just within the bound.
async fn busy_log<DB: AuditDatabase>(database: &TestDatabase) -> AuditReader<DB> {
    let pool = Pool::<DB>::connect(database.url()).await.unwrap();
    let audit = Audit::builder(pool.clone(), "ledger").development(true);
    let audit = audit.start().await.unwrap();
    for (actor, records) in [("ada", 150), ("bob", 60), ("grace", 50)] {
        let work = audit.transaction(Actor::user(actor), "patient.read", async |tx| {
            for patient in 0..records {
                tx.record("patient", patient);
            }
            Ok::<_, std::io::Error>(())
        });
        work.await.unwrap();
    }
    AuditReader::new(pool, "ledger").unwrap()
}

async fn listed_records_are_divided_among_the_breaches<DB: AuditDatabase>(database: TestDatabase) {
    let reader = busy_log::<DB>(&database).await;
    let per_actor = "action = \"patient.read\"\nper = \"actor\"\nat_most = 50";
    let found = verdict(&reader, per_actor).await;
    let listed = |verdict: &Verdict| -> Vec<(Option<String>, u64, u64)> {
        let breaches = verdict.breaches.iter();
        let numbers = |it: &platform_audit::review::Breach| (it.value.clone(), it.found, it.listed);
        breaches.map(numbers).collect()
    };
    let breach = |name: &str, found, listed| (Some(name.to_owned()), found, listed);
    assert_eq!(
        listed(&found),
        [breach("ada", 150, 50), breach("bob", 60, 50)]
    );
    for actor in ["ada", "bob"] {
        let records = found.records.iter().filter(|it| it.actor.id == actor);
        assert_eq!(records.count(), 50, "{actor}");
    }
    for bound in ["", "\nsince = \"1d\""] {
        let review = format!("action = \"patient.read\"\nat_most = 0{bound}");
        let all = verdict(&reader, &review).await;
        assert_eq!(listed(&all), [(None, 260, 100)]);
        assert_eq!(all.records.len(), 100);
    }
}

macro_rules! on_both {
    ($($name:ident)*) => {
        mod sqlite {$(
            #[tokio::test]
            async fn $name() {
                super::$name::<super::Sqlite>(super::TestDatabase::sqlite()).await;
            }
        )*}
        mod postgres {$(
            #[tokio::test]
            async fn $name() {
                super::$name::<super::Postgres>(super::TestDatabase::postgres().await).await;
            }
        )*}
    };
}

on_both! {
    counts_out_of_bounds_are_breaches_with_their_records
    only_records_outside_office_hours_are_counted
    listed_records_are_divided_among_the_breaches
}

#[tokio::test]
async fn the_command_prints_how_many_records_are_listed() {
    let database = TestDatabase::sqlite();
    busy_log::<Sqlite>(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reviews.toml");
    let reviews = "
        [curious]
        action = \"patient.read\"
        per = \"actor\"
        at_most = 50

        [none]
        action = \"patient.read\"
        at_most = 0";
    std::fs::write(&file, reviews).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_platform-audit"))
        .arg("review")
        .arg(&file)
        .args(["--service", "ledger", "--as", "nightly", "--database-url"])
        .arg(database.url())
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "ada: 150, expected at most 50; 50 of 150 are listed",
        "bob: 60, expected at most 50; 50 of 60 are listed",
        "expected at most 0; 100 of 260 are listed",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
}

#[tokio::test]
async fn the_command_prints_breaches_and_fails_with_status_1() {
    let database = TestDatabase::sqlite();
    let reader = log::<Sqlite>(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reviews.toml");
    let reviews = "
        [curious]
        description = \"Nobody reads more than four patients a day\"
        action = \"patient.read\"
        per = \"actor\"
        at_most = 4

        [backup]
        action = \"backup.run\"
        at_least = 1";
    std::fs::write(&file, reviews).unwrap();
    let run = |more: &[&str]| -> (i32, String, String) {
        let output: Output = Command::new(env!("CARGO_BIN_EXE_platform-audit"))
            .arg("review")
            .arg(&file)
            .args(["--service", "ledger", "--as", "nightly", "--database-url"])
            .arg(database.url())
            .args(more)
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (status, out, err) = run(&[]);
    assert_eq!(status, 1, "{err}");
    for expected in [
        "FAILED curious: 7 found (Nobody reads more than four patients a day)",
        "       ada: 5, expected at most 4",
        "ok     backup: 1 found",
        "2 reviews, 1 failed",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
    assert_eq!(out.matches("patient.read").count(), 5, "{out}");
    let (status, out, _) = run(&["--review", "backup"]);
    assert_eq!((status, out.lines().count()), (0, 2), "{out}");
    let (status, out, _) = run(&["--review", "backup", "--until", "2020-01-01"]);
    assert_eq!(status, 1);
    assert!(out.contains("expected at least 1"), "{out}");
    let (status, out, _) = run(&["--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status, 1);
    assert_eq!(json[0]["breaches"][0]["value"], "ada");
    assert_eq!(json[0]["records"].as_array().unwrap().len(), 5);
    assert_eq!(json[1]["passed"], true);
    let (_, out, _) = run(&["--format", "jsonl"]);
    assert_eq!(out.lines().count(), 2);

    let (status, _, err) = run(&["--review", "backups"]);
    assert_eq!(status, 2);
    assert!(
        err.contains("has no review `backups`: it has curious, backup"),
        "{err}"
    );
    std::fs::write(&file, "[curious]\naction = \"patient.read\"").unwrap();
    let (status, _, err) = run(&[]);
    assert_eq!(status, 2);
    assert!(
        err.contains("reviews.toml: the review `curious`: it has no bound"),
        "{err}"
    );

    // Each read was recorded.
    let asked = platform_audit::query::AuditQuery::new().actor("nightly");
    let readings = reader.read_as(Actor::system("test")).count(&asked).await;
    assert!(readings.unwrap() >= 8);
}
