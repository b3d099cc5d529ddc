//! Runs the fault rig for about a minute. For longer runs, see `main.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure here fails the test"
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

/// The number after `name` in the summary.
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
        "clients disconnected",
        // Connections were lost during COMMIT.
        "Unknown",
    ] {
        assert!(number(&text, kind) > 0, "no {kind}: {text}");
    }
    if !text.contains("install libfaketime") {
        assert!(number(&text, "ShiftClock") > 0, "{text}");
    }
    // Requests succeeded between the faults.
    assert!(number(&text, "committed changes") > 500, "{text}");
    assert!(number(&text, "attempts recorded") > 50, "{text}");
}

#[test]
fn the_rig_detects_a_broken_promise() {
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
    assert!(number(&text, "wrong responses") > 0, "{text}");
}

#[test]
fn an_unknown_option_has_exit_status_2() {
    let Ran { status, text } = rig(&["--rounds", "3"]);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("`--rounds` is unknown"), "{text}");
}
