//! The fault rig, for a minute of the test run: `cargo run -p platform-tests --bin fault_rig` goes
//! on for longer.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what goes wrong here fails the test"
)]

use std::process::{Command, Output};

struct Ran {
    status: Option<i32>,
    text: String,
}

fn rig(arguments: &[&str]) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_fault_rig"))
        .args(arguments)
        .output()
        .unwrap();
    Ran {
        status: status.code(),
        text: String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr),
    }
}

/// The number behind `name` in the summary.
fn number(text: &str, name: &str) -> u64 {
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with(name))
        .unwrap_or_else(|| panic!("no `{name}` in {text}"));
    let number = line.trim_start().trim_start_matches(name).trim();
    number.parse().unwrap_or_else(|_| panic!("{line}"))
}

#[test]
fn a_minute_of_faults_leaves_no_orphan() {
    let Ran { status, text } = rig(&["--seconds", "60", "--seed", "20261123", "--until-covered"]);
    println!("{text}");
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(number(&text, "orphan changes"), 0);
    assert_eq!(number(&text, "orphan records"), 0);
    assert!(number(&text, "faults") >= 20, "{text}");
    for kind in [
        "KillService",
        "StopService",
        "CrashPostgres",
        "CutConnections",
        "HoldConnections",
        "DelayConnections",
        "CutBeforeCommit",
        "CutAfterCommit",
        "FillPool",
        "clients that hung up",
        // Connections were indeed lost inside of COMMIT.
        "Unknown",
    ] {
        assert!(number(&text, kind) > 0, "no {kind}: {text}");
    }
    if !text.contains("install libfaketime") {
        assert!(number(&text, "ShiftClock") > 0, "{text}");
    }
    // The load did get through between the faults.
    assert!(number(&text, "committed changes") > 500, "{text}");
    assert!(number(&text, "attempts recorded") > 50, "{text}");
}

#[test]
fn the_rig_notices_a_broken_promise() {
    let Ran { status, text } = rig(&[
        "--seconds",
        "4",
        "--seed",
        "1",
        "--until-covered",
        "--break-the-promise",
    ]);
    assert_eq!(status, Some(1), "{text}");
    assert!(number(&text, "orphan changes") > 0, "{text}");
    assert!(number(&text, "untrue answers") > 0, "{text}");
}

#[test]
fn what_the_rig_cannot_do_has_another_status() {
    let Ran { status, text } = rig(&["--rounds", "3"]);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("`--rounds` is unknown"), "{text}");
}
