//! Runs each measurement in a new process, so that they share neither memory nor global state.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use serde_json::Value;

/// A command that runs this program with `arguments`.
pub(crate) fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.args(arguments).stderr(Stdio::inherit());
    command
}

/// Runs `command`; returns the text that it prints, and the JSON of its last line.
pub(crate) fn run(command: &mut Command) -> (String, Value) {
    let done = command.output().expect("the measurement starts");
    assert!(done.status.success(), "failed: {command:?}");
    let printed = String::from_utf8_lossy(&done.stdout).trim_end().to_owned();
    let (text, json) = printed.rsplit_once('\n').unwrap_or(("", &printed));
    let json = serde_json::from_str(json);
    let json = json.unwrap_or_else(|error| panic!("{command:?} printed no figures: {error}"));
    (text.to_owned(), json)
}
